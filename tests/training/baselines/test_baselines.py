"""Classical methods: scores, splits and folds follow the networks' rules."""

from __future__ import annotations

import csv
import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.crossval.classical import (
    Settings,
    load_material,
    run_baseline,
    split_masks,
    thinned,
)
from edge_malaria.crossval.classical_report import MEASURES, roc, summarize
from edge_malaria.crossval.folds import folds_of
from edge_malaria.crossval.results import FoldResult
from edge_malaria.data.dataset import Row, open_dataset
from edge_malaria.errors import ConfigError, ModelShapeError, UsageError
from edge_malaria.files import encode_image
from edge_malaria.keras_layers import keras
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.architectures import build
from edge_malaria.training.baselines import deep
from edge_malaria.training.baselines.features import (
    load_features,
)
from edge_malaria.training.baselines.methods import METHODS, method, scores
from tests.cli import run_cli, run_process, validate

HANDCRAFTED = sorted(name for name, entry in METHODS.items() if entry.looks == "handcrafted")
PATIENTS = {f"P{i}": ("val", "test", "train")[min(i % 5, 2)] for i in range(18)}


def masked(cell: object) -> Image:
    """A drawn cell on black."""
    image, mask = cell.image, cell.mask  # type: ignore[attr-defined]
    return np.asarray(np.where(mask[:, :, None], image, 0), np.uint8)


def write_cells(folder: Path, per_patient: int = 6) -> Path:
    """A zip of drawn cells, healthy ones and schizonts, with patients, splits and folds."""
    rng = np.random.default_rng(5)
    lines = [("file", "class", "patient_id", "split", "fold", "suspect_label")]
    archive = folder / "cells.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for number, (patient, split) in enumerate(PATIENTS.items()):
            for index in range(per_patient):
                word = "Parasitized" if index % 2 else "Uninfected"
                kind = "schizont" if index % 2 else "healthy"
                name = f"{patient}_{index}.png"
                data = encode_image(masked(draw_cell(rng, kind)))
                out.writestr(f"cell_images/{word}/{name}", data)
                doubt = str(int(index == 5))
                lines.append((name, word, patient, split, str(number % 3), doubt))
    with (folder / "patients.csv").open("w", newline="") as table:
        csv.writer(table).writerows(lines)
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cells(tmp_path_factory.mktemp("cells"))


def test_features_are_cached_and_the_same(archive: Path, tmp_path: Path) -> None:
    dataset = open_dataset(archive)
    first = load_features(dataset, cache=tmp_path)
    assert len(list(tmp_path.glob("features-*.npy"))) == 1
    counted: list[int] = []
    again = load_features(dataset, cache=tmp_path, step=counted.append)
    assert not counted
    assert np.array_equal(first, again)
    part = load_features(dataset.select("val"), cache=tmp_path)
    assert len(part) == len(dataset.select("val").rows)


@pytest.mark.parametrize("name", HANDCRAFTED)
def test_scores_rise_with_the_label_and_are_finite(name: str) -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 200)
    table = (rng.normal(0, 1, (400, 6)) + labels[:, None]).astype(np.float32)
    fitted = METHODS[name].make(0).fit(table, labels)
    found = scores(fitted, table)
    assert found.dtype == np.float32 and found.shape == (400,)
    assert np.isfinite(found).all()
    assert found[labels == 1].mean() > found[labels == 0].mean() + 0.5
    assert np.array_equal(found, scores(METHODS[name].make(0).fit(table, labels), table))


@pytest.mark.parametrize("name", [*HANDCRAFTED, "bag-of-features"])
def test_fixed_split_reports_test_patients_only(name: str, archive: Path, tmp_path: Path) -> None:
    dataset = open_dataset(archive)
    results, cells = run_baseline(dataset, Settings(name), tmp_path / "run")
    assert {cells.rows[i].split for i in results[0].held_out} == {"test"}
    summary = summarize(results, cells)
    assert summary["raw_labels"]["n"] == len(dataset.select("test").rows)
    assert summary["without_suspect_labels"]["n"] < summary["raw_labels"]["n"]
    assert summary["raw_labels"]["auc"] > 0.8
    assert not [path for path in (tmp_path / "run").rglob("*") if path.suffix == ".pkl"]


def test_thresholds_ignore_the_held_out_labels(archive: Path, tmp_path: Path) -> None:
    dataset = open_dataset(archive)
    material = load_material(dataset, Settings("svm"))
    masks = split_masks(material.cells)
    first, cells = run_baseline(dataset, Settings("svm"), tmp_path / "a")
    flipped = tuple(
        Row(**{**vars(row), "label": 1 - row.label}) if row.split == "test" else row
        for row in dataset.rows
    )
    other = dataclasses.replace(dataset, rows=flipped)
    second, _ = run_baseline(other, Settings("svm"), tmp_path / "b")
    assert np.array_equal(first[0].logits, second[0].logits)
    assert (first[0].temperature, first[0].bias) == (second[0].temperature, second[0].bias)
    assert int(masks["held_out"].sum()) == len(first[0].held_out)
    assert summarize(second, cells)["raw_labels"] == summarize(first, cells)["raw_labels"]


def test_crossval_covers_every_cell_once_and_resumes(archive: Path, tmp_path: Path) -> None:
    dataset = open_dataset(archive)
    folds = folds_of(dataset)
    done: list[FoldResult] = []
    first, _ = run_baseline(dataset, Settings("boosting"), tmp_path, folds[:1], done=done.append)
    stamp = (tmp_path / "fold0" / "predictions.npz").stat().st_mtime_ns
    results, cells = run_baseline(dataset, Settings("boosting"), tmp_path, folds)
    assert (tmp_path / "fold0" / "predictions.npz").stat().st_mtime_ns == stamp
    covered = np.sort(np.concatenate([result.held_out for result in results]))
    assert np.array_equal(covered, np.arange(len(dataset.rows)))
    assert np.array_equal(results[0].logits, first[0].logits) and len(done) == 1
    summary = summarize(results, cells)
    mean = np.mean([entry["accuracy"] for entry in summary["per_fold"]])
    assert summary["mean"]["accuracy"] == pytest.approx(float(mean))
    assert set(summary["sd"]) <= set(MEASURES)
    with pytest.raises(ConfigError, match="seed"):
        run_baseline(dataset, Settings("boosting", seed=1), tmp_path, folds)


def test_roc_runs_from_corner_to_corner(archive: Path, tmp_path: Path) -> None:
    results, cells = run_baseline(open_dataset(archive), Settings("naive-bayes"), tmp_path)
    curve = roc(results, cells)
    alarms, found = np.array(curve["false_positive_rate"]), np.array(curve["sensitivity"])
    assert (alarms[0], found[0], alarms[-1], found[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (np.diff(alarms) >= 0).all() and (np.diff(found) >= 0).all()
    area = float(np.trapezoid(found, alarms))
    assert area == pytest.approx(summarize(results, cells)["raw_labels"]["auc"], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_thinning_keeps_a_subset_of_the_asked_size(places: int, wanted: int, seed: int) -> None:
    mask = np.arange(80) < places
    kept = thinned(mask, wanted, seed)
    assert int(kept.sum()) == min(places, wanted)
    assert not (kept & ~mask).any()


def test_penultimate_features_lead_to_the_logit() -> None:
    model = build("fast50", 16)
    cells = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    found = deep.features(model, cells, batch=2)
    assert found.shape == (5, 500)
    kernel, bias = model.layers[-1].get_weights()
    logits = np.asarray(model(cells.astype(np.float32), training=False))
    assert found @ kernel + bias == pytest.approx(logits, abs=1e-4)
    inputs = keras.Input((16, 16, 3))
    bare = keras.Model(inputs, keras.layers.Flatten()(inputs))
    with pytest.raises(ModelShapeError, match="dense layer"):
        deep.penultimate(bare)


@pytest.mark.slow
@pytest.mark.long
def test_network_features_feed_an_svm(archive: Path, tmp_path: Path) -> None:
    dataset = open_dataset(archive)
    setting = Settings("vgg16-svm", input_size=32, epochs=1, batch=24)
    results, cells = run_baseline(dataset, setting, tmp_path / "run")
    assert (tmp_path / "run" / "split" / "model.keras").is_file()
    assert summarize(results, cells)["raw_labels"]["n"] == 4 * 6
    given = Settings("vgg16-svm", network=str(tmp_path / "run" / "split" / "model.keras"))
    again, _ = run_baseline(dataset, given, tmp_path / "again")
    assert again[0].logits == pytest.approx(results[0].logits, abs=1e-3)
    with pytest.raises(UsageError, match="has seen"):
        run_baseline(dataset, given, tmp_path / "folds", [0, 1])


def test_unknown_method_lists_all() -> None:
    with pytest.raises(UsageError, match="bag-of-features"):
        method("forest")


def test_baseline_as_a_user_runs_it(archive: Path, tmp_path: Path) -> None:
    done = run_process("baseline", archive, "-o", tmp_path / "r", "--crossval", "--json")
    assert done.code == 0, done.err
    validate(done.json, "baseline")
    assert done.json["protocol"] == "folds by patient"
    assert (tmp_path / "r" / "roc.json").is_file()
    wrong = run_cli("baseline", archive, "-o", tmp_path / "x", "--only", "0")
    assert wrong.code == 2 and "--crossval" in wrong.error
    assert not (tmp_path / "x").exists()
