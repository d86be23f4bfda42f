"""Flagged cells asked again by the C file: what Python decides, cell by cell."""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the generator reads .tflite with its schema")

from converters.firmware import to_c
from converters.firmware.check import check_on_host
from converters.firmware.steps import Refused
from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.bundle.spec import Bundle
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier, Decision
from edge_malaria.runtime.classify.flagged_views import eight_views
from tests.asked_again import with_views
from tests.cli import run_cli, validate
from tests.converters.firmware.c_library import (
    LABELS,
    classified,
    compiled,
    golden_and_drawn,
    pixels,
)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def asked(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(with_views(shipped_bundle, tmp_path_factory.mktemp("asked") / "b", 8))


@pytest.fixture(scope="module")
def generated(asked: Bundle, tmp_path_factory: pytest.TempPathFactory) -> to_c.Firmware:
    return to_c.generate_from_bundle(asked, tmp_path_factory.mktemp("c") / "c")


@pytest.fixture(scope="module")
def library(generated: to_c.Firmware, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compiled(generated.folder, tmp_path_factory.mktemp("library") / "model.so")


@pytest.fixture(scope="module")
def cells(asked: Bundle) -> Image:
    return golden_and_drawn(asked, 400)


@pytest.mark.parametrize("point", ["balanced", "screening"])
def test_the_c_file_decides_as_python_does(
    asked: Bundle, generated: to_c.Firmware, library: ctypes.CDLL, cells: Image, point: str
) -> None:
    classifier = Classifier(asked, engine="litert", operating_point=point)
    told = classifier.predict_inputs(cells)
    threshold = (generated.identity.thresholds or {})[point]
    low, high = asked.classifier.decision.unsure_between or (1.0, 0.0)
    for cell, expected in zip(cells, told, strict=True):
        result = classified(library, cell, threshold)
        assert bool(result.positive) == expected.positive
        assert result.permille == np.rint(expected.p_parasitized * 1000)
        unsure = low < expected.p_parasitized < high
        assert (LABELS[result.label] == "unsure") == unsure
    again = classifier.asks_again(classifier.logits(cells))
    fallen = again & np.array([p.p_parasitized < classifier.threshold for p in told])
    assert again.any() and fallen.any() and not again.all()


def test_the_sum_of_the_views_is_the_engines(
    asked: Bundle, library: ctypes.CDLL, cells: Image
) -> None:
    engine = Classifier(asked, engine="litert").engine
    some = cells[::20]
    views = np.stack([engine.run_raw(view).reshape(-1) for view in eight_views(some)])
    for cell, expected in zip(some, views.astype(int).sum(axis=0), strict=True):
        given = np.ascontiguousarray(cell)
        assert library.edge_malaria_eight_views(pixels(given)) == expected


def test_the_self_test_runs_the_views(generated: to_c.Firmware, tmp_path: Path) -> None:
    assert list(generated.checks.values()) == ["identical"] * 3
    folder = Path(shutil.copytree(generated.folder, tmp_path / "c"))
    source = (folder / to_c.SOURCE).read_text()
    assert "em_view(rgb, view / 2, view % 2)" in source
    wrong = source.replace("em_view(rgb, view / 2, view % 2)", "em_view(rgb, view / 2, 0)")
    (folder / to_c.SOURCE).write_text(wrong)
    results = check_on_host(folder, (0, 1, 2))
    assert all("differ" in result for result in results.values()), results


def test_the_command_says_from_where_cells_are_asked_again(asked: Bundle, tmp_path: Path) -> None:
    ran = run_cli("firmware", asked.path, "-o", tmp_path / "c", "--cells", "2", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "firmware")
    raw = ran.json["asked_again_from_raw"]
    assert ran.json["thresholds_raw"]["balanced"] in range(8 * raw - 7, 8 * raw + 1)


def test_a_threshold_on_an_output_is_refused(asked: Bundle, tmp_path: Path) -> None:
    spec = asked.classifier
    output = spec.file("int8", "litert").output
    decision = Decision(spec, 0.5)
    logits = (np.arange(-128, 128) - output.zero_point).astype(np.int32) * np.float32(output.scale)
    chances = decision.probabilities(logits.astype(np.float32))
    record = json.loads((asked.path / "bundle.json").read_text())
    points = record["models"]["classifier"]["decision"]["operating_points"]
    above = chances[chances > spec.threshold("balanced")]
    points["screening"]["threshold"] = float(above[len(above) // 2])
    copy = Path(shutil.copytree(asked.path, tmp_path / "copy"))
    write_index(copy, record)
    with pytest.raises(Refused, match="lies on an output of eight views"):
        to_c.generate_from_bundle(read_bundle(copy), tmp_path / "c")
