"""Which cells training opens, how they are rendered, and how they are changed."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.errors import DatasetError, ImageError
from edge_malaria.files import encode_image
from edge_malaria.training.classifier.augment import Augmentation, augment
from edge_malaria.training.classifier.cells import RENDERINGS, fitting_rows, load_renderings, render
from edge_malaria.training.classifier.feed import batches
from edge_malaria.training.classifier.platelets import with_platelet
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.scenery import BLACK_LEVEL, Scenery, set_in_scene


def cell(seed: int, parasitized: bool, side: int = 60) -> np.ndarray:
    """A disc on black, with a dark purple dot where parasitized."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] - (side - 1) / 2
    image = np.zeros((side, side, 3), np.uint8)
    image[np.hypot(rows, columns) < side * 0.47] = rng.integers((190, 120, 130), (230, 160, 170))
    if parasitized:
        place = rng.uniform(-0.2, 0.2, 2) * side
        dot = np.hypot(rows - place[0], columns - place[1]) < side * 0.1
        image[dot] = (110, 40, 120)
    return image


def write_dataset(path: Path, patients: dict[str, str], per_patient: int = 6) -> Path:
    """A zip in the NIH layout; ``patients`` maps patient -> split; odd cells are parasitized."""
    lines = [("file", "class", "patient_id", "split", "fold")]
    archive = path / "cells.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for number, (patient, split) in enumerate(patients.items()):
            for index in range(per_patient):
                word = "Parasitized" if index % 2 else "Uninfected"
                name = f"{patient}_{split}_{index}.png"
                data = encode_image(cell(100 * number + index, bool(index % 2)))
                out.writestr(
                    f"cell_images/{word}/{name}", b"not a picture" if split == "test" else data
                )
                lines.append((name, word, patient, split, str(number % 3)))
    with (path / "patients.csv").open("w", newline="") as table:
        csv.writer(table).writerows(lines)
    return archive


SPLITS = {"A": "train", "B": "train", "C": "val", "D": "test"}


def test_fitting_opens_no_test_row(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path, SPLITS))
    train, val = fitting_rows(dataset)
    assert {row.split for row in train.rows} == {"train"}
    assert {row.split for row in val.rows} == {"val"}
    for part in (train, val):
        assert len(load_renderings(part, 48)["full"]) == len(part.rows)
    # The test pictures are unreadable: whoever opened one would notice.
    with pytest.raises(ImageError):
        load_renderings(dataset.select("test"), 48)


def test_a_patient_in_two_splits_is_an_error(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, SPLITS)
    table = (
        (tmp_path / "patients.csv").read_text().replace("Parasitized,A,train", "Parasitized,A,val")
    )
    (tmp_path / "patients.csv").write_text(table)
    with pytest.raises(DatasetError, match="leak: patient A"):
        fitting_rows(open_dataset(archive))


def test_training_refuses_a_data_set_without_patients(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, SPLITS)
    (tmp_path / "patients.csv").unlink()
    with pytest.raises(DatasetError, match="no patients"):
        fitting_rows(open_dataset(archive))


def test_training_refuses_patients_without_splits(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path, SPLITS))
    rows = tuple(type(row)(row.file, row.label, patient_id=row.patient_id) for row in dataset.rows)
    with pytest.raises(DatasetError, match="no splits"):
        fitting_rows(Dataset(dataset.path, rows))


def test_renderings_are_cached_and_read_back_alike(tmp_path: Path) -> None:
    part, _ = fitting_rows(open_dataset(write_dataset(tmp_path, SPLITS)))
    done: list[int] = []
    fresh = load_renderings(part, 48, RENDERINGS, cache=tmp_path / "cache", step=done.append)
    again = load_renderings(part, 48, RENDERINGS, cache=tmp_path / "cache", step=done.append)
    assert sum(done) == len(part.rows)
    for name in RENDERINGS:
        assert np.array_equal(fresh[name].inputs, again[name].inputs)
    assert not np.array_equal(fresh["full"].inputs, fresh["small"].inputs)


def test_the_full_rendering_is_the_device_preprocessing() -> None:
    from edge_malaria.prepare.preprocess import network_input

    crop = cell(1, True, side=131)
    assert np.array_equal(render(crop, 48, "full"), network_input(crop, 48))


BATCH = np.stack([render(cell(seed, bool(seed % 2)), 48, "full") for seed in range(16)])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_augmentation_is_deterministic_and_stays_in_range(seed: int) -> None:
    before = BATCH.copy()
    first = augment(BATCH, np.random.default_rng(seed), Augmentation())
    again = augment(BATCH, np.random.default_rng(seed), Augmentation())
    assert np.array_equal(first, again)
    assert np.array_equal(BATCH, before)
    assert first.dtype == np.float32
    assert first.shape == BATCH.shape
    assert first.min() >= 0.0
    assert first.max() <= 255.0
    assert np.array_equal(first, np.rint(first))


BARE = Scenery(
    specks=0, platelet=0, overlap=0, mask_jitter=0, hole=0, fragment=0, background=0, cut=0
)
SHARP = Augmentation(blur=0, jpeg=0, noise=0, scenery=BARE)


def test_stain_shifts_leave_the_background_black() -> None:
    changed = augment(BATCH, np.random.default_rng(3), SHARP)
    corners = changed[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() == 0.0
    inside = changed[:, 20:28, 20:28]
    assert np.abs(inside - BATCH[:, 20:28, 20:28]).mean() > 3.0


def _covered(**scenery: float) -> float:
    strength = replace(SHARP, scenery=replace(BARE, **scenery))
    return float(
        (augment(BATCH, np.random.default_rng(0), strength).max(axis=3) > BLACK_LEVEL).mean()
    )


def test_masks_erode_get_holes_and_let_the_background_in() -> None:
    plain = _covered()
    assert _covered(mask_jitter=1.0) < plain - 0.03
    assert _covered(hole=1.0) < plain - 0.002
    assert _covered(background=1.0) > plain + 0.03
    assert _covered(fragment=1.0) > plain + 0.005


def test_a_cut_leaves_straight_edges_and_a_tight_box() -> None:
    strength = replace(SHARP, shift_px=0.0, scenery=replace(BARE, cut=1.0))
    changed = augment(BATCH, np.random.default_rng(0), strength)
    seen = changed.max(axis=3) > BLACK_LEVEL
    assert seen.any(axis=1)[:, 1:-1].all()
    assert seen.any(axis=2)[:, 1:-1].all()


def test_an_overlapping_neighbour_only_darkens() -> None:
    strength = replace(BARE, overlap=1.0)
    rng = np.random.default_rng(1)
    darker = 0
    for image in BATCH:
        scene = set_in_scene(image, rng, strength)
        assert (scene <= image).all()
        darker += int((scene < image).any())
    assert darker >= len(BATCH) // 2


def violet(images: Any) -> Any:
    """Where green is well below both others."""
    others = np.minimum(images[..., 0], images[..., 2]).astype(int)
    return others - images[..., 1] > 25


def test_a_platelet_clings_to_the_outline_and_leaves_the_middle_alone() -> None:
    disc = np.zeros((48, 48), np.uint8)
    cv2.circle(disc, (24, 24), 22, 1, -1)
    plain = (disc[:, :, None] * np.full(3, 190)).astype(np.uint8)
    rng = np.random.default_rng(2)
    dressed = np.stack([with_platelet(plain, disc, rng) for _ in range(64)])
    assert not violet(plain).any()
    assert violet(dressed).any(axis=(1, 2)).mean() > 0.6
    # A long shred may reach the middle.
    assert violet(dressed[:, 21:27, 21:27]).any(axis=(1, 2)).mean() < 0.1
    assert (dressed.max(axis=3) > BLACK_LEVEL)[:, :, [0, 47]].any(axis=1).all()
    assert with_platelet(plain * 0, disc * 0, rng).max() == 0


def test_batches_depend_on_seed_and_epoch_only() -> None:
    examples = Examples((BATCH, BATCH[::-1].copy()), np.linspace(0, 1, 16, dtype=np.float32))
    recipe = Recipe(epochs=2, batch=5, seed=7)
    first = list(batches(examples, recipe, 1))
    again = list(batches(examples, recipe, 1))
    other = list(batches(examples, recipe, 0))
    assert [cells.shape[0] for cells, _ in first] == [5, 5, 5]
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0][0], other[0][0])


@pytest.mark.parametrize("resize", ["linear", "nearest", "pad"])
def test_renderings_follow_the_way_of_preparing(tmp_path: Path, resize: str) -> None:
    from edge_malaria.prepare.contract import Preparation
    from edge_malaria.prepare.preprocess import network_input

    dataset = open_dataset(write_dataset(tmp_path, SPLITS)).select("train")
    cache, way = tmp_path / "cache", Preparation(24, resize)
    usual = load_renderings(dataset, 24, cache=cache)["full"].inputs
    # From the pictures, then from the cache, which must not mix the two.
    for _ in range(2):
        made = load_renderings(dataset, way, cache=cache)["full"].inputs
        expected = [network_input(dataset.read(row), way) for row in dataset.rows]
        np.testing.assert_array_equal(made, np.stack(expected))
        assert (made != usual).any()


def test_a_picture_that_was_replaced_in_a_folder_is_read_again(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_dataset(tmp_path, SPLITS)) as packed:
        packed.extractall(tmp_path / "folder")
    (tmp_path / "patients.csv").rename(tmp_path / "folder" / "patients.csv")
    dataset = open_dataset(tmp_path / "folder").select("train")
    cache, row = tmp_path / "cache", dataset.rows[0]
    before = load_renderings(dataset, 24, cache=cache)["full"].inputs
    (tmp_path / "folder" / row.file).write_bytes(encode_image(cell(999, False)))
    after = load_renderings(dataset, 24, cache=cache)["full"].inputs
    assert (after[0] != before[0]).any()
    np.testing.assert_array_equal(after[1:], before[1:])
