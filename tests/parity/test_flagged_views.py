"""A bundle that asks flagged cells again, through export and parity: calls are from eight views."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.parity import gate
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.classify.flagged_views import mean_logits
from edge_malaria.runtime.engines.opening import open_engine
from tests.parity import faults
from tests.parity.faults import Fault


@pytest.fixture(scope="module")
def asked(tiny_keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's bundle, its flagged cells asked again, by the real export."""
    from edge_malaria.export import Options, export_bundle

    folder = tmp_path_factory.mktemp("asked")
    model = Path(shutil.copy(tiny_keras, folder / "tiny.keras"))
    beside = {"decision": {"flagged_views": 8}}
    model.with_suffix(".json").write_text(json.dumps(beside))
    options = Options(variants=("float32", "int8"), formats=("tflite",))
    export_bundle(str(model), folder / "bundle", options)
    return folder / "bundle"


def test_the_goldens_hold_what_keras_says_in_eight_views(asked: Path) -> None:
    bundle = read_bundle(asked)
    stored = read_goldens(bundle.contents)
    assert stored.keras.again is not None
    file = bundle.classifier.file("float32", "litert")
    engine = open_engine(bundle.read(file.file), "litert")
    means = mean_logits(stored.cells.inputs, lambda batch: engine.run(batch).reshape(-1))
    assert np.abs(means - stored.keras.again).max() < 1e-3
    decision = Decision(bundle.classifier, bundle.classifier.threshold("balanced"))
    again = decision.asked_again(stored.keras.raw)
    assert 0 < again.sum() < len(again)


def test_an_honest_bundle_passes_by_its_stored_answers(asked: Path) -> None:
    report = gate(asked, finder=False)
    assert report.passed, faults.messages(report)


def _stored(bundle: Path, change: str) -> None:
    path = bundle / "golden" / "keras.npz"
    with np.load(path) as stored:
        values = dict(stored)
    if change == "missing":
        del values["averaged"]
    else:
        values["averaged"] = -values["averaged"]
    np.savez(path, **values)
    faults.rehash(bundle)


def _asks_once(bundle: Path) -> None:
    record = faults.record_of(bundle)
    del record["models"]["classifier"]["decision"]["flagged_views"]
    faults.rehash(bundle, record)


FAULTS = (
    Fault("no stored views", lambda b: _stored(b, "missing"), ("asked again", "missing")),
    Fault("other views", lambda b: _stored(b, "turned"), ("same call",)),
    Fault("asked once", _asks_once, ("flagged_views", "changed after the export")),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named(fault: Fault, asked: Path, tmp_path: Path) -> None:
    faults.assert_refused(fault, tmp_path / "bundle", asked)
