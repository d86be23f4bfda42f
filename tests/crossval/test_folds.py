"""Folds: no patient on two sides, and figures as a hand would count them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.crossval.folds import fold_masks, folds_of, is_inner, with_folds
from edge_malaria.crossval.report import MEASURES, leak, mean_sd, summarize
from edge_malaria.crossval.results import FoldResult, read_result, write_result
from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.errors import DataError, DatasetError, UsageError
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.curves import plot_fold_curves, plot_roc


def cells_of(patients: int = 60, per_patient: int = 4) -> CellSet:
    """Tiny cells: every third patient is healthy, fold = patient modulo 3."""
    rows = []
    for patient in range(patients):
        for index in range(per_patient):
            label = int(patient % 3 != 0 and index % 2 == 0)
            rows.append(
                Row(
                    f"p{patient}_{index}.png",
                    label,
                    patient_id=f"P{patient}",
                    fold=patient // 3 % 3,
                    suspect=index == 3,
                )
            )
    inputs = np.zeros((len(rows), 4, 4, 3), np.uint8)
    return CellSet(inputs, np.array([row.label for row in rows], np.int64), tuple(rows))


def test_no_patient_stands_on_two_sides() -> None:
    cells = cells_of(200)
    for fold in range(3):
        masks = fold_masks(cells, fold)
        owners = [set(cells.patients[mask].tolist()) for mask in masks.values()]
        assert sum(len(names) for names in owners) == len(set().union(*owners)) == 200
        assert sum(int(mask.sum()) for mask in masks.values()) == len(cells)
        assert {row.fold for row in cells.take(masks["held_out"]).rows} == {fold}


def test_a_patient_in_two_folds_is_an_error() -> None:
    cells = cells_of()
    rows = list(cells.rows)
    rows[0] = Row(rows[0].file, rows[0].label, patient_id=rows[0].patient_id, fold=2)
    with pytest.raises(DatasetError, match="leak"):
        fold_masks(CellSet(cells.inputs, cells.labels, tuple(rows)), 0)


def test_inner_patients_are_a_tenth_and_depend_on_the_name_only() -> None:
    chosen = [is_inner(f"P{number}", 1) for number in range(3000)]
    assert 0.07 < np.mean(chosen) < 0.13
    assert chosen == [is_inner(f"P{number}", 1) for number in range(3000)]
    assert chosen != [is_inner(f"P{number}", 2) for number in range(3000)]


def test_data_sets_without_patients_or_folds_are_refused(tmp_path: Path) -> None:
    rows = (Row("a.png", 1), Row("b.png", 0))
    for refuse in (folds_of, with_folds):
        with pytest.raises(DatasetError, match="no patients"):
            refuse(Dataset(tmp_path, rows))
        known = tuple(Row(row.file, row.label, patient_id="A") for row in rows)
        with pytest.raises(DatasetError, match="no folds"):
            refuse(Dataset(tmp_path, known))
    with pytest.raises(UsageError, match="2 folds"):
        with_folds(Dataset(tmp_path, known), "patient", 1)


def result(cells: CellSet, fold: int, logits: np.ndarray) -> FoldResult:
    held_out = np.flatnonzero([row.fold == fold for row in cells.rows])
    inner = np.array([-3.0, -2.5, -2.0, 2.0, 2.5, 3.0] * 20, np.float32)
    return FoldResult(
        fold=fold,
        held_out=held_out,
        logits=logits[held_out].astype(np.float32),
        keras_logits=logits[held_out].astype(np.float32),
        temperature=1.0,
        bias=0.0,
        inner_logits=inner,
        inner_labels=(inner > 0).astype(np.int64),
    )


def test_figures_are_what_a_hand_would_count() -> None:
    cells = cells_of()
    logits = np.where(cells.labels == 1, 4.0, -4.0) + np.linspace(-0.1, 0.1, len(cells))
    wrong = np.flatnonzero(cells.suspect & (cells.labels == 0))[:6]
    logits[wrong] = 5.0
    summary = summarize([result(cells, fold, logits) for fold in range(3)], cells)
    assert summary["folds"] == [0, 1, 2]
    assert summary["raw_labels"]["n"] == len(cells)
    assert summary["raw_labels"]["accuracy"] == pytest.approx(1 - 6 / len(cells))
    assert summary["without_suspect_labels"]["accuracy"] == 1.0
    assert summary["without_suspect_labels"]["auc"] == 1.0
    assert summary["errors"]["n"] == 6
    assert summary["errors"]["share_with_suspect_label"] == 1.0
    assert summary["healthy_patients_at_screening"]["patients"] == 20
    low, high = summary["raw_labels"]["ci95_by_patient"]["accuracy"]
    assert low <= summary["raw_labels"]["accuracy"] <= high


def test_ten_folds_are_dealt_from_whole_patients_alike_each_time() -> None:
    cells = cells_of(60)
    dataset = Dataset(Path("cells.zip"), cells.rows)
    dealt = with_folds(dataset, "patient", 10, seed=3)
    assert [row.file for row in dealt.rows] == [row.file for row in cells.rows]
    assert {row.fold for row in dealt.rows} == set(range(10))
    owners = {(row.patient_id, row.fold) for row in dealt.rows}
    assert len(owners) == 60
    sick = [sum(row.label for row in dealt.rows if row.fold == fold) for fold in range(10)]
    assert min(sick) >= 6 and max(sick) <= 10
    assert with_folds(dataset, "patient", 10, seed=3).rows == dealt.rows
    assert with_folds(dataset, "patient", 3).rows == dataset.rows


def test_folds_by_cell_put_patients_on_both_sides_in_equal_classes() -> None:
    cells = cells_of(60)
    dealt = with_folds(Dataset(Path("cells.zip"), cells.rows), "cell", 5, seed=1)
    by_cell = CellSet(cells.inputs, cells.labels, dealt.rows)
    masks = fold_masks(by_cell, 2, "cell")
    assert sum(int(mask.sum()) for mask in masks.values()) == len(cells)
    shared = set(by_cell.patients[masks["train"]]) & set(by_cell.patients[masks["held_out"]])
    assert shared
    labels = cells.labels[masks["held_out"]]
    assert abs(labels.mean() - cells.labels.mean()) < 0.02
    with pytest.raises(DatasetError, match="leak"):
        fold_masks(by_cell, 2)


def test_mean_and_spread_over_folds_and_the_leak() -> None:
    entries = [dict.fromkeys(MEASURES, 0.9), {**dict.fromkeys(MEASURES, 0.8), "mcc": None}]
    found = mean_sd(entries)
    assert found["accuracy"]["mean"] == pytest.approx(0.85)
    assert found["accuracy"]["sd"] == pytest.approx(0.0707106781)
    assert found["mcc"] == {"mean": 0.9, "sd": None}
    other = mean_sd([dict.fromkeys(MEASURES, 0.95)] * 2)
    assert leak({"mean_sd": found}, {"mean_sd": other})["accuracy"] == pytest.approx(0.1)


def test_figures_without_suspect_labels_stand_beside_the_headline() -> None:
    cells = cells_of()
    logits = np.where(cells.labels == 1, 4.0, -4.0)
    logits[np.flatnonzero(cells.suspect & (cells.labels == 0))[:6]] = 5.0
    results = [result(cells, fold, logits) for fold in range(3)]
    plain, both = summarize(results, cells), summarize(results, cells, exclude_suspect=True)
    assert both["raw_labels"] == plain["raw_labels"]
    assert both["mean_sd"] == plain["mean_sd"]
    assert both["mean_sd_without_suspect_labels"]["accuracy"]["mean"] == 1.0
    assert plain["mean_sd"]["accuracy"]["mean"] < 1.0
    assert "mean_sd_without_suspect_labels" not in plain


def test_plots_are_written_twice_alike(tmp_path: Path) -> None:
    truth, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    history = [
        {"epoch": 0.0, "loss": 0.7, "val_auc": 0.8},
        {"epoch": 1.0, "loss": 0.5, "val_auc": 0.9},
    ]
    for _ in range(2):
        written = plot_roc({"a": (truth, scores), "b": (truth, truth)}, tmp_path / "roc", mean=True)
        written += plot_fold_curves({"a": history}, tmp_path / "curves")
        before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in written] == before
    assert {path.suffix for path in written} == {".png", ".svg"}
    assert all(len(data) > 1000 for data in before)


def test_a_result_survives_the_disk_and_damage_is_said(tmp_path: Path) -> None:
    cells = cells_of()
    before = result(cells, 1, np.linspace(-1, 1, len(cells)))
    write_result(tmp_path / "p.npz", before)
    after = read_result(tmp_path / "p.npz")
    assert after.fold == 1
    assert np.array_equal(after.logits, before.logits)
    (tmp_path / "p.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="damaged"):
        read_result(tmp_path / "p.npz")
