"""The cell finder inside the suite: honest files pass, swapped and broken ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from edge_malaria.bundle.format import INDEX, write_index
from edge_malaria.bundle.golden_write import pack_arrays
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.bundle.spec import sha256_hex
from edge_malaria.files import write_bytes
from edge_malaria.parity import ParityReport, gate
from edge_malaria.parity import finder_stage as stage
from edge_malaria.parity.page import as_html
from edge_malaria.parity.render import as_junit, as_markdown
from edge_malaria.runtime.engines.opening import open_engine
from tests.parity import faults

pytest.importorskip("ai_edge_litert", reason="the finder's files are compared on LiteRT")


def _rehash(bundle: Path) -> None:
    """Records the finder's files as they are now, tensors included where they still load."""
    record = json.loads((bundle / INDEX).read_text())
    for entries in record["models"]["finder"]["variants"].values():
        for entry in entries:
            data = (bundle / entry["file"]).read_bytes()
            if entry["sha256"] != sha256_hex(data):
                entry["bytes"], entry["sha256"] = len(data), sha256_hex(data)
                engine = open_engine(data, entry["engine"])
                entry["input"], entry["output"] = engine.input.as_json(), engine.output.as_json()
    write_index(bundle, record)


@pytest.fixture(scope="module")
def with_goldens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped bundle with boxes stored as an export stores Keras's: here the float file's.

    ``micro`` has the finder of ``default``, and a classifier that is soon compared.
    """
    micro = SHIPPED_MODELS / "micro"
    bundle = faults.copy_bundle(micro, tmp_path_factory.mktemp("finder") / "bundle")
    fields = stage.drawn_fields()
    boxes = stage.red_boxes(open_engine(bundle / "finder.float32.tflite", "litert"), fields)
    packed = pack_arrays(stage.golden_arrays(boxes, fields))
    write_bytes(bundle / "golden" / stage.FILE, packed)
    _rehash(bundle)
    return bundle


def _copied(bundle: Path, target: Path, plant: Callable[[Path], None]) -> Path:
    faults.copy_bundle(bundle, target)
    plant(target)
    _rehash(target)
    return target


def _finder_failures(report: ParityReport) -> list[str]:
    return [f.message for f in report.all_failures() if f.subject.startswith("finder")]


def test_the_finder_is_compared_with_keras_and_between_engines(with_goldens: Path) -> None:
    report = gate(with_goldens)
    assert _finder_failures(report) == []
    pairs = {(p.reference, p.candidate) for p in report.finder}
    assert {("keras", "litert.int8"), ("keras", "litert.float32")} <= pairs
    assert not any("finder" in line for line in report.not_run)
    assert all(p.cells >= stage.LEAST_CELLS and p.passed for p in report.finder)
    schema = json.loads(resources.files("edge_malaria.schemas").joinpath("parity.json").read_text())
    jsonschema.validate({"schema_version": 1, **report.as_json()}, schema)
    for text in (as_markdown(report), as_html(report)):
        assert "Cell finder" in text and "litert.int8" in text
    assert "finder litert.int8 against keras" in as_junit(report)


def _swap_for_the_classifier(bundle: Path) -> None:
    (bundle / "finder.int8.tflite").write_bytes((bundle / "model.int8.tflite").read_bytes())


def _zero_a_layer(file: str) -> Callable[[Path], None]:
    def plant(bundle: Path) -> None:
        def edit(tensors: list[faults.StoredTensor]) -> None:
            faults.values_of(faults.kernels(tensors)[-1])[...] = 0

        faults.edit_tflite(bundle / file, edit)

    return plant


def _another_network(bundle: Path) -> None:
    """Both float files of a network with other weights: they agree with each other."""
    rng = np.random.default_rng(3)

    def edit(tensors: list[faults.StoredTensor]) -> None:
        for kernel in faults.kernels(tensors):
            rng.shuffle(faults.values_of(kernel).reshape(-1))

    faults.edit_tflite(bundle / "finder.float32.tflite", edit)
    faults.edit_tflite(bundle / "finder.int8.tflite", edit)


INT8, BOTH = ("finder.int8.tflite",), ("finder.int8.tflite", "finder.float32.tflite")


@pytest.mark.parametrize(
    ("plant", "files", "words"),
    [
        (_swap_for_the_classifier, INT8, "not a finder's model"),
        (_zero_a_layer("finder.int8.tflite"), INT8, "all zero"),
        (_another_network, BOTH, "another network's file"),
    ],
)
def test_a_faulty_finder_file_is_refused_by_name(
    plant: Callable[[Path], None],
    files: tuple[str, ...],
    words: str,
    with_goldens: Path,
    tmp_path: Path,
) -> None:
    report = gate(_copied(with_goldens, tmp_path / "bundle", plant), engines=["litert"])
    assert not report.passed
    for file in files:
        named = [m for m in _finder_failures(report) if file in m]
        assert any(words in message for message in named), _finder_failures(report)
    # The classifier's own files are not blamed.
    assert all(f.subject.startswith("finder") for f in report.all_failures())


def test_goldens_of_other_fields_are_named_and_not_compared(
    with_goldens: Path, tmp_path: Path
) -> None:
    def other_fields(bundle: Path) -> None:
        path = bundle / "golden" / stage.FILE
        with np.load(path) as stored:
            values = dict(stored)
        np.savez(path, **{**values, "fields_sha256": np.array("0" * 64)})

    report = gate(_copied(with_goldens, tmp_path / "bundle", other_fields), engines=["litert"])
    assert any("drawn otherwise" in line for line in report.not_run)
    assert ("litert.float32", "litert.int8") in {(p.reference, p.candidate) for p in report.finder}


def test_agreement_counts_from_both_sides() -> None:
    one = (np.array([[0, 0, 20, 20], [40, 0, 60, 20]], np.int32),)
    assert stage.agreement(one, one) == 1.0
    assert stage.agreement(one, (one[0][:1],)) == 0.5
    assert stage.agreement((one[0][:1],), one) == 0.5
    assert stage.agreement(one, (np.zeros((0, 4), np.int32),)) == 0.0
    empty = (np.zeros((0, 4), np.int32),)
    assert stage.agreement(empty, empty) == 0.0
