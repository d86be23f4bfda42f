"""Platelets and refractile spots on healthy cells."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import encode_image
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.prepare.stain import StainScaling
from edge_malaria.records import Image
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.synthetic import draw_cell
from edge_malaria.synthetic.smear import draw_field
from edge_malaria.training.classifier.artefacts import (
    Platelet,
    platelets,
    with_artefact,
    with_platelet_laid,
    with_refractile_spots,
)
from edge_malaria.training.classifier.transplant import DENSITY, Parasite, on_cell


def healthy(count: int, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    cells = [draw_cell(rng, "healthy") for _ in range(count)]
    return np.stack([network_input(cell.image, 48, cell.mask) for cell in cells])


def spot(side: int) -> Parasite:
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    cover = np.exp(-(x**2 + y**2) / (side / 3) ** 2).astype(np.float32)
    return Parasite(cover[:, :, None] * np.array([0.5, 1.0, 0.4], np.float32), cover, 0.9)


def test_a_platelet_darkens_the_cell_and_may_reach_over_its_edge() -> None:
    rng, over = np.random.default_rng(1), 0
    for cell in np.repeat(healthy(6, 2), 8, axis=0):
        made = with_platelet_laid(cell, spot(9), rng)
        assert made is not None
        inside = on_cell(cell) > 0
        over += int((made[~inside] > 0).any())
        deeper = (DENSITY[made] - DENSITY[cell])[:, :, 1][inside]
        assert np.median(np.abs(deeper)) < 0.05 and deeper.min() > -0.05
    assert 3 <= over <= 45


def test_a_giant_platelet_is_laid_smaller_than_a_cell() -> None:
    rng = np.random.default_rng(3)
    for cell in healthy(6, 4):
        made = with_platelet_laid(cell, spot(36), rng)
        assert made is not None
        changed = (DENSITY[made] - DENSITY[cell])[:, :, 1] > 0.15
        assert changed[on_cell(cell) > 0].mean() < 0.35


def test_refractile_spots_stay_on_the_cell_and_shine() -> None:
    rng, bright = np.random.default_rng(5), 0
    for cell in np.repeat(healthy(6, 6), 6, axis=0):
        before = cell.copy()
        made = with_refractile_spots(cell, rng)
        assert made is not None
        np.testing.assert_array_equal(cell, before)
        inside = on_cell(cell) > 0
        assert (made[~inside] == 0).all()
        bright += int((DENSITY[made] - DENSITY[cell])[inside][:, 1].min() < -0.06)
    assert bright >= 12


def test_the_source_of_a_platelet_is_told_and_dark_pictures_get_none() -> None:
    rng, cell = np.random.default_rng(7), healthy(1, 8)[0]
    made = [with_artefact(cell, [Platelet(spot(9), "pbc")], rng, 0.5) for _ in range(20)]
    assert {one[1] for one in made if one is not None} == {"", "pbc"}
    assert with_artefact(np.zeros_like(cell), [Platelet(spot(9), "pbc")], rng) is None


def test_platelets_come_from_boxes_of_the_fitting_thirds(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    image = draw_field(9, 480, 480)[0].copy()
    # A violet disc on clear ground, boxed, in a fitting and in the reporting picture.
    y, x = np.mgrid[0:480, 0:480]
    free = (slice(200, 260), slice(200, 260))
    image[free] = 235
    image[(y - 230) ** 2 + (x - 230) ** 2 < 49] = (120, 60, 150)
    for name in ("bccd", "raabin", "pbc"):
        (tmp_path / name / "images").mkdir(parents=True)
    rows = []
    for number in range(3):
        name = f"p{number}.png"
        (tmp_path / "bccd" / "images" / name).write_bytes(encode_image(image, ".png"))
        rows.append({"image": name, "x": 220, "y": 220, "w": 20, "h": 20, "label": "Platelets"})
    for folder in ("bccd", "raabin"):
        with (tmp_path / folder / "annotations.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows if folder == "bccd" else [])
    finder = default_finder(read_bundle(shipped_bundle))
    found = platelets(tmp_path, finder, 48, StainScaling())
    assert [one.laboratory for one in found] == ["bccd", "bccd"]
    assert found[0].spot.peak == pytest.approx(found[1].spot.peak)
    assert found[0].spot.peak > 0.5
