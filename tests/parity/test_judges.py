"""Whose calls decide: of networks made for other cells labelled ones do, where enough lie near."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.files import write_image
from edge_malaria.parity import Settings, gate
from edge_malaria.parity.judges import compared_as_sure, fitted_temperature, near_threshold
from edge_malaria.parity.numeric import Cells, Outputs, compare_outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.prepare.contract import Preparation
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.engines.opening import open_engine
from tests.parity import faults

SETTINGS = Settings(delta=0.05)


class Fooled:
    """The bundle's float32 network, that calls some cells the other way."""

    name = "fooled"

    def __init__(self, bundle: Bundle, cells: Any) -> None:
        file = bundle.classifier.file("float32", "litert")
        self._engine = open_engine(bundle.read(file.file), "litert")
        self.input, self.output = self._engine.input, self._engine.output
        self._turn = read_goldens(bundle.contents).cells.threshold_logit
        self._cells = {cell.tobytes() for cell in cells}

    def run_raw(self, batch: Any) -> Any:
        """float32 [N, 1]."""
        values = np.asarray(self._engine.run_raw(batch)).reshape(len(batch), 1).copy()
        for row, cell in enumerate(batch):
            if cell.tobytes() in self._cells:
                values[row] = 2.0 * self._turn - values[row]
        return values

    def run(self, batch: Any) -> Any:
        """The same."""
        return self.run_raw(batch)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``micro`` as an export of somebody else's network would have written it."""
    path = tmp_path_factory.mktemp("foreign") / "bundle"
    return _rewritten(faults.copy_bundle(SHIPPED_MODELS / "micro", path), {"contract": {}})


def _rewritten(path: Path, provenance: dict[str, Any], **gate_record: Any) -> Path:
    record = dict(read_bundle(path).record)
    record["provenance"] = provenance
    classifier = dict(record["models"]["classifier"])
    classifier["gate"] = {**classifier["gate"], **gate_record}
    # Asked once: this test's engines answer first.
    classifier["decision"] = {
        k: v for k, v in classifier["decision"].items() if k not in ("flagged_views", "second")
    }
    # Not scaled: the cells of these tests are network inputs already.
    classifier["preprocessing"] = Preparation(int(classifier["preprocessing"]["size_px"])).as_json()
    record["models"] = {**record["models"], "classifier": classifier}
    write_index(path, record)
    return path


@pytest.fixture(scope="module")
def near_cells(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """200 cells near the threshold as files, labelled as the network calls them."""
    bundle = read_bundle(foreign)
    cells, root = read_goldens(bundle.contents).cells, tmp_path_factory.mktemp("near") / "cells"
    lines, near = ["file,class,patient_id,split"], np.flatnonzero(cells.near)
    for label, name in ((1, "Parasitized"), (0, "Uninfected")):
        for row in near[cells.truth[near] == label][:100]:
            write_image(root / name / f"{row}.png", cells.inputs[row])
            lines.append(f"{row}.png,{name},p{row},val")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return open_dataset(root)


def _plain(bundle: Bundle) -> Any:
    cells = read_goldens(bundle.contents).cells
    # A cell that lies near the threshold by itself stands among the blends as well.
    near = {cell.tobytes() for cell in cells.inputs[cells.near]}
    return np.stack([c for c in cells.inputs[~cells.near] if c.tobytes() not in near][:100])


def _judged(path: Path, dataset: Dataset | None, cells: Any) -> Any:
    bundle = read_bundle(path)
    extra = {"fooled.int8-mixed": Fooled(bundle, cells)}
    return gate(bundle, dataset=dataset, extra=extra, settings=SETTINGS, finder=False)


@pytest.mark.slow
def test_drawn_cells_do_not_judge_a_foreign_network_beside_labelled_ones(
    foreign: Path, near_cells: Dataset
) -> None:
    wrong = _plain(read_bundle(foreign))
    report = _judged(foreign, near_cells, wrong)
    assert not report.drawn_decide
    assert not [f for f in report.all_failures() if f.subject == "fooled.int8-mixed"]
    # Without labelled cells, and with too few of them, drawn ones decide.
    for dataset in (None, dataclasses.replace(near_cells, rows=near_cells.rows[:110])):
        report = _judged(foreign, dataset, wrong)
        assert report.drawn_decide
        assert "same call on" in " ".join(faults.messages(report))


@pytest.mark.slow
def test_nor_one_that_a_published_protocol_trained(
    foreign: Path, near_cells: Dataset, tmp_path: Path
) -> None:
    studied = Path(shutil.copytree(foreign, tmp_path / "studied"))
    wrong = _plain(read_bundle(_rewritten(studied, {"protocol": "published"})))
    assert not _judged(studied, near_cells, wrong).drawn_decide
    assert _judged(studied, None, wrong).drawn_decide


def test_labelled_cells_near_the_threshold_are_held_to_their_limit(
    foreign: Path, near_cells: Dataset
) -> None:
    # As the network sees them: the slides' colour is scaled.
    tables = SlideTables(near_cells, read_bundle(foreign).classifier.target)
    wrong = [tables.input(row) for row in near_cells.rows[::6]]
    report = _judged(foreign, near_cells, np.stack(wrong))
    assert "val cells (near the threshold)" in " ".join(faults.messages(report))


def test_this_projects_own_networks_are_judged_by_drawn_cells_too(
    foreign: Path, near_cells: Dataset, tmp_path: Path
) -> None:
    own = _rewritten(Path(shutil.copytree(foreign, tmp_path / "own")), {})
    report = _judged(own, near_cells, _plain(read_bundle(own)))
    assert report.drawn_decide
    assert "drawn cells" in " ".join(faults.messages(report))


def test_the_record_of_the_export_says_who_decided(foreign: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(foreign, tmp_path / "again"))
    _rewritten(path, {"contract": {}}, drawn_decide=False)
    report = _judged(path, None, _plain(read_bundle(path)))
    assert not [f for f in report.all_failures() if f.subject == "fooled.int8-mixed"]
    assert any("labelled cells did when it was exported" in told for told in report.not_run)


def _labelled_logits(temperature: float, n: int = 4000) -> tuple[Any, Any]:
    """Logits float64 [n] that are right once divided by ``temperature``, and truth bool [n]."""
    rng = np.random.default_rng(3)
    sound = rng.normal(0.0, 3.0, n)
    return sound * temperature, rng.random(n) < 1.0 / (1.0 + np.exp(-sound))


@pytest.mark.parametrize("temperature", [2.0, 500.0, 40_000.0])
def test_the_temperature_of_a_network_that_is_too_sure_is_found(temperature: float) -> None:
    logits, truth = _labelled_logits(temperature)
    assert fitted_temperature(logits, truth) == pytest.approx(temperature, rel=0.1)


def test_a_network_that_is_not_too_sure_keeps_its_logits() -> None:
    for temperature in (0.2, 1e-3):
        assert fitted_temperature(*_labelled_logits(temperature)) == 1.0
    separable = np.array([-3.0, -1.0, 2.0, 5.0])
    assert fitted_temperature(separable, separable > 0) == 1.0
    assert fitted_temperature(np.array([np.nan, 1.0]), np.array([True, False])) == 1.0
    turned, truth = _labelled_logits(500.0)
    assert fitted_temperature(-turned, truth) == 1.0


def test_near_reaches_as_far_as_the_network_is_wrong_where_one_logit_holds_too_few() -> None:
    settings = Settings(delta=0.05)
    sound, truth = _labelled_logits(1.0)
    near = near_threshold(sound, truth, settings)
    np.testing.assert_array_equal(near, np.abs(sound) <= 1.0)
    # A tutorial's: the same calls from logits of thousands. The same cells are near, all but a few.
    sure = near_threshold(sound * 1000.0, truth, settings)
    assert np.mean(sure != near) < 0.02
    # Where one logit holds enough cells, it stays so, however sure the network is of the rest.
    mixed = np.where(near, sound, sound * 1000.0)
    np.testing.assert_array_equal(near_threshold(mixed, truth, settings), near)


class TooSure:
    """A network of somebody else, 1,000 times surer than its labels allow, and its cells."""

    def __init__(self, foreign: Path) -> None:
        bundle = read_bundle(foreign)
        self.subject = Subject(bundle, read_goldens(bundle.contents), SETTINGS, {})
        logits, self.truth = _labelled_logits(1000.0, 2000)
        self.logits = logits.astype(np.float32)
        cells = Cells("val", np.zeros((len(logits), 1, 1, 3), np.uint8), truth=self.truth)
        reference = Outputs("keras", self.logits, self.logits)
        self.cells = compared_as_sure(self.subject, cells, reference)

    def refused(self, logits: Any, variant: str = "int8") -> str:
        """What is said of a file that gives these logits on the same cells."""
        given = np.asarray(logits, np.float32)
        pair = compare_outputs(
            Outputs("keras", self.logits, self.logits),
            Outputs(f"litert.{variant}", given, given),
            self.cells,
            self.subject.decision,
            SETTINGS,
        )
        return " ".join(failure.message for failure in pair.failures)


@pytest.fixture(scope="module")
def too_sure(foreign: Path) -> TooSure:
    """With the plain decision that bundles of others have: temperature 1, threshold one half."""
    return TooSure(foreign)


def test_probabilities_are_compared_as_sure_as_the_labels_allow(too_sure: TooSure) -> None:
    assert too_sure.cells.temperature == pytest.approx(1000.0, rel=0.1)
    # 8 bits: a step is 100 of 25,000. A call within it turns from 0 to 1, which is no change of
    # what the network knows.
    rounded = np.round(too_sure.logits / 100.0) * 100.0
    assert np.abs(probability(too_sure.logits) - probability(rounded)).max() > 0.35
    assert too_sure.refused(rounded) == ""


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_still_refused(too_sure: TooSure) -> None:
    # Without the temperature each of these would keep every probability at 0 or 1.
    unsure = np.clip(too_sure.logits, -50.0, 50.0)
    assert "largest change of a probability at temperature" in too_sure.refused(unsure)
    one_cell = too_sure.logits.copy()
    surest = int(np.argmax(one_cell))
    one_cell[surest] = 20.0
    assert "largest change of a probability at temperature" in too_sure.refused(one_cell)
    turned = too_sure.logits.copy()
    turned[surest] *= -1.0
    assert "largest change of a probability at temperature" in too_sure.refused(turned)
    noisy = too_sure.logits + np.random.default_rng(0).normal(0.0, 700.0, len(turned))
    assert "SQNR" in too_sure.refused(noisy) and "same call on" in too_sure.refused(noisy)
    assert "largest change" in too_sure.refused(np.full(len(turned), np.nan))


@pytest.mark.slow
def test_float_files_keep_their_limits_at_that_temperature(too_sure: TooSure) -> None:
    assert too_sure.refused(too_sure.logits * (1.0 + 1e-6), "float32") == ""
    assert "largest change" in too_sure.refused(too_sure.logits + 1.0, "float32")
    assert "SQNR" in too_sure.refused(too_sure.logits * 1.002, "float32")


def test_where_one_logit_holds_enough_cells_probabilities_are_compared_as_they_are(
    too_sure: TooSure,
) -> None:
    logits, truth = _labelled_logits(1.0, 2000)
    given = logits.astype(np.float32)
    cells = Cells("val", too_sure.cells.inputs, truth=truth)
    reference = Outputs("keras", given, given)
    assert compared_as_sure(too_sure.subject, cells, reference).temperature == 1.0
