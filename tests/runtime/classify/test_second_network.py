"""A second network about flagged cells: which cells, whose answer, the arithmetic to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_malaria.bundle.contents import SECOND
from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.bundle.selftest import run_selftest
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import BundleIntegrityError, BundleSchemaError
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier, probability
from edge_malaria.runtime.classify.second_network import on_first_scale, open_second
from edge_malaria.runtime.engines.fake import FakeEngine
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli
from tests.second import with_second, without_second

OWN = {"temperature": 1.7, "bias": -0.4}


@pytest.fixture(scope="module")
def alone(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(without_second(shipped_bundle, tmp_path_factory.mktemp("alone") / "b"))


@pytest.fixture(scope="module")
def asking(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The second network is the first one with another calibration."""
    return read_bundle(with_second(shipped_bundle, tmp_path_factory.mktemp("two") / "b", **OWN))


def drawn_inputs(bundle: Bundle, count: int = 24) -> Image:
    rng = np.random.default_rng(8)
    cells = [draw_cell(rng, "ring" if i % 2 else "healthy") for i in range(count)]
    return np.stack([network_input(c.image, bundle.classifier.size_px, c.mask) for c in cells])


@given(
    st.floats(-50, 50, width=32), st.floats(0.1, 10), st.floats(-5, 5), st.floats(0.1, 10),
    st.floats(-5, 5),
)  # fmt: skip
def test_the_scale_keeps_the_second_networks_probability(
    logit: float, temperature: float, bias: float, first_temperature: float, first_bias: float
) -> None:
    own = DecisionRecord(temperature, bias)
    first = DecisionRecord(first_temperature, first_bias)
    told = on_first_scale(np.array([logit], np.float32), own, first)
    wanted = probability(np.array([logit], np.float32), temperature, bias)
    assert told.dtype == np.float32
    got = probability(told, first_temperature, first_bias)
    # One float32 rounding of a logit of hundreds.
    assert got == pytest.approx(wanted, abs=2e-4)
    exact = np.float32((np.float64(np.float32(logit)) + bias) / temperature * first_temperature)
    assert told[0] == pytest.approx(float(exact) - first_bias, rel=1e-5, abs=1e-4)


def test_flagged_cells_are_decided_by_the_second_network_and_no_others(asking: Bundle) -> None:
    size, seen = asking.classifier.size_px, []

    def first(batch: Image) -> NDArray[np.float32]:
        return (batch[:, 0, 0, 0] / np.float32(10) - np.float32(8)).astype(np.float32)

    def second(batch: Image) -> NDArray[np.float32]:
        seen.append(batch[:, 0, 0, 0].tolist())
        return np.full(len(batch), -9.5, np.float32)

    cells = np.zeros((4, size, size, 3), np.uint8)
    cells[:, 0, 0, 0] = (0, 200, 10, 250)
    classifier = Classifier(asking, with_engine=FakeEngine(first, size), second=second)
    found = classifier.predict_inputs(cells)
    assert seen == [[200, 250]]
    assert [p.logit for p in found] == [-8.0, -9.5, -7.0, -9.5]
    assert not any(p.positive for p in found)


def test_the_shipped_engines_give_first_and_second_answers(asking: Bundle, alone: Bundle) -> None:
    cells = drawn_inputs(asking)
    told = Classifier(asking).predict_inputs(cells)
    first = Classifier(alone).logits(cells)
    flagged = Classifier(asking).asks_again(first)
    assert flagged.any() and not flagged.all()
    opened = open_second(asking, "int8", "litert", 1)
    assert opened is not None and asking.second is not None
    again = on_first_scale(
        opened.engine.run(cells).reshape(-1),
        asking.second.classifier.decision,
        asking.classifier.decision,
    )
    assert [p.logit for p in told] == np.where(flagged, again, first).tolist()
    assert any(again[flagged] != first[flagged])


def test_one_cell_alone_and_all_cells_together_give_the_same_bits(asking: Bundle) -> None:
    cells = drawn_inputs(asking)
    classifier = Classifier(asking)
    together = classifier.predict_inputs(cells)
    assert [classifier.predict_inputs(cell[None])[0] for cell in cells] == together


def test_a_site_threshold_does_not_move_what_is_asked(asking: Bundle) -> None:
    cells = drawn_inputs(asking)
    usual = Classifier(asking).predict_inputs(cells)
    site = Classifier(asking, threshold=0.01).predict_inputs(cells)
    assert [p.p_parasitized for p in site] == [p.p_parasitized for p in usual]


def test_an_engine_of_the_callers_needs_the_second_one_too(asking: Bundle) -> None:
    size = asking.classifier.size_px
    engine = FakeEngine(lambda batch: np.full(len(batch), 20, np.float32), size)
    with pytest.raises(ValueError, match="second network"):
        Classifier(asking, with_engine=engine).predict_inputs(drawn_inputs(asking, 1))


def test_older_versions_refuse_such_a_bundle(asking: Bundle, alone: Bundle) -> None:
    assert alone.record["schema_version"] == 1
    assert asking.record["schema_version"] == 3


def test_what_decides_is_named_by_both_files(asking: Bundle, alone: Bundle) -> None:
    one, two = (b.deciding_sha256("int8", "litert") for b in (alone, asking))
    assert one == alone.classifier.file("int8", "litert").sha256
    assert len(two) == 64 and two != one


def test_the_self_test_runs_both_networks(asking: Bundle) -> None:
    result = run_selftest(asking)
    assert result.passed
    cells = {row.variant: row.cells for row in result.rows}
    assert cells["int8"] == 1024 and cells["second/int8"] == 256


def _changed(asking: Bundle, target: Path) -> Path:
    return Path(shutil.copytree(asking.path, target))


def _rewrite(bundle: Path, change: object) -> None:
    record = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    change(record)  # type: ignore[operator]
    for key in ("format", "schema_version", "files"):
        record.pop(key)
    write_index(bundle, record)


def test_a_missing_or_changed_second_network_is_refused(asking: Bundle, tmp_path: Path) -> None:
    gone = _changed(asking, tmp_path / "gone")
    shutil.rmtree(gone / SECOND)
    with pytest.raises(BundleIntegrityError, match="missing"):
        read_bundle(gone)
    _rewrite(gone, lambda record: None)
    with pytest.raises(BundleSchemaError, match="second is not a bundle"):
        read_bundle(gone)
    other = _changed(asking, tmp_path / "other")
    file = next((other / SECOND).glob("*.int8.tflite"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    _rewrite(other, lambda record: None)
    with pytest.raises(BundleIntegrityError, match="second"):
        read_bundle(other)


def test_a_second_network_that_never_passed_its_gate_is_refused(
    asking: Bundle, tmp_path: Path
) -> None:
    copy = _changed(asking, tmp_path / "b")
    _rewrite(copy / SECOND, lambda r: r["models"]["classifier"]["gate"].update(passed=False))
    _rewrite(copy, lambda record: None)
    with pytest.raises(BundleSchemaError, match="gate"):
        read_bundle(copy)


def test_a_second_network_that_sees_other_cells_is_refused(asking: Bundle, tmp_path: Path) -> None:
    copy, size = _changed(asking, tmp_path / "b"), asking.classifier.size_px
    plain = Preparation(size)
    assert asking.classifier.preparation != plain
    _rewrite(
        copy / SECOND,
        lambda r: r["models"]["classifier"].update(preprocessing=plain.as_json()),
    )
    _rewrite(copy, lambda record: None)
    with pytest.raises(BundleSchemaError, match="prepared otherwise"):
        read_bundle(copy)


def test_a_second_network_asks_nobody(asking: Bundle, tmp_path: Path) -> None:
    copy = _changed(asking, tmp_path / "b")
    shutil.copytree(copy / SECOND, copy / SECOND / SECOND)
    _rewrite(
        copy / SECOND,
        lambda r: r["models"]["classifier"]["decision"].update(second={"from": 0.1}),
    )
    _rewrite(copy, lambda record: None)
    with pytest.raises(BundleSchemaError, match="cannot ask another"):
        read_bundle(copy)


@pytest.mark.parametrize("asked_from", [0.0, 1.0, -0.1, "0.1", None, True])
def test_an_impossible_probability_is_refused(
    asking: Bundle, tmp_path: Path, asked_from: object
) -> None:
    copy = _changed(asking, tmp_path / "b")
    _rewrite(
        copy,
        lambda r: r["models"]["classifier"]["decision"].update(second={"from": asked_from}),
    )
    with pytest.raises(BundleSchemaError, match=r"second\.from: expected a probability"):
        read_bundle(copy)


def test_screen_and_resume_know_which_networks_decided(asking: Bundle, tmp_path: Path) -> None:
    source = "sim:parasitemia=0.2,fields=1,seed=5,width=640,height=480"
    done = run_cli("screen", source, "-o", tmp_path / "out", "--bundle", asking.path, "--json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert asking.deciding_sha256("int8", "litert") in json.dumps(report)
    alone = without_second(asking.path, tmp_path / "alone")
    again = run_cli("screen", source, "-o", tmp_path / "out", "--bundle", alone, "--resume")
    assert again.code == 2 and "bundle" in again.err
