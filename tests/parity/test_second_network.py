"""A bundle with a second network through export and parity: both networks, and what both decide."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.contents import SECOND
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.errors import ModelFileError
from edge_malaria.parity import Beside, ParityReport, Settings, gate
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.classify.second_network import open_second
from edge_malaria.runtime.engines.opening import open_engine
from tests.cli import run_cli
from tests.parity import faults
from tests.parity.faults import Fault


def test_the_goldens_hold_what_keras_says_of_flagged_cells(asking: Path) -> None:
    bundle = read_bundle(asking)
    stored = read_goldens(bundle.contents)
    assert stored.keras.again is not None and bundle.second is not None
    second = open_second(bundle, "float32", "litert", 1)
    assert second is not None
    told = second.logits(stored.cells.inputs)
    assert np.abs(told - stored.keras.again).max() < 1e-3
    decision = Decision(bundle.classifier, bundle.classifier.threshold("balanced"))
    flagged = decision.asked_again(stored.keras.raw)
    assert 0 < flagged.sum() < len(flagged)
    assert read_goldens(bundle.second.contents).keras.again is None


def test_an_honest_bundle_passes_with_both_networks(asking: Path) -> None:
    report = gate(asking, finder=False)
    assert report.passed, faults.messages(report)
    seen = {pair.candidate for pair in report.pairs}
    assert {"litert.int8", "second/litert.int8", "second/onnx.float32"} <= seen


def test_a_second_network_of_which_nothing_was_compared_has_failed() -> None:
    report = ParityReport("second", "drawn", {}, (), (), (), {}, Settings())
    [failure] = report.findings_as("second").failures
    assert failure.subject == "second/second" and failure.what == "pairs compared"


def test_a_candidate_without_a_second_network_is_refused(asking: Path) -> None:
    bundle = read_bundle(asking)
    engine = open_engine(bundle.read("model.int8.tflite"), "litert")
    report = gate(bundle, finder=False, extra={"other.int8": engine})
    assert any("second network" in line for line in faults.messages(report))
    assert bundle.second is not None
    beside = open_engine(bundle.second.read("model.int8.tflite"), "litert")
    both = Beside(extra={"other.int8": beside}, prove=False)
    assert gate(bundle, finder=False, extra={"other.int8": engine}, second=both).passed


def _turned(bundle: Path) -> None:
    """The second network's file is another one's: its answers have the other sign."""
    path = bundle / SECOND / "golden" / "keras.npz"
    with np.load(path) as stored:
        values = dict(stored)
    values["logits"] = -values["logits"]
    np.savez(path, **values)
    faults.rehash(bundle / SECOND)
    faults.rehash(bundle)


def _not_stored(bundle: Path) -> None:
    path = bundle / "golden" / "keras.npz"
    with np.load(path) as stored:
        values = {key: value for key, value in stored.items() if key != "second"}
    np.savez(path, **values)
    faults.rehash(bundle)


def _asked_elsewhere(bundle: Path) -> None:
    record = faults.record_of(bundle)
    record["models"]["classifier"]["decision"]["second"]["from"] = 0.3
    faults.rehash(bundle, record)


def _other_calibration(bundle: Path) -> None:
    record = faults.record_of(bundle / SECOND)
    record["models"]["classifier"]["decision"]["bias"] = 2.0
    faults.rehash(bundle / SECOND, record)
    faults.rehash(bundle)


FAULTS = (
    Fault("another second network", _turned, ("second/", "keras.npz")),
    Fault("no stored answers", _not_stored, ("asked again", "missing")),
    Fault("asked elsewhere", _asked_elsewhere, ("decision.second", "changed after the export")),
    Fault("another calibration", _other_calibration, ("second/", "decision.bias")),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named(fault: Fault, asking: Path, tmp_path: Path) -> None:
    faults.assert_refused(fault, tmp_path / "bundle", asking)


def test_a_model_without_the_network_that_it_asks_is_refused(models: Path, tmp_path: Path) -> None:
    from edge_malaria.export.load import load_source

    for name in ("tiny.keras", "tiny.json"):
        shutil.copy(models / name, tmp_path)
    with pytest.raises(ModelFileError, match=r"no second\.keras beside it"):
        load_source(str(tmp_path / "tiny.keras"))


def test_parity_asks_both_keras_models(asking: Path, models: Path) -> None:
    ran = run_cli(
        "parity", asking, "--reference", models / "tiny.keras", "--engine", "litert", "--json"
    )
    assert ran.code == 0, ran.err
    pairs: list[dict[str, Any]] = ran.json["pairs"]
    against = {(pair["reference"], pair["candidate"]) for pair in pairs}
    assert ("second/keras", "second/litert.int8") in against
