"""Colours that no red cell has are unsure; drawn and real red cells of any stain are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.records import Image
from edge_malaria.runtime.classify.cell_tint import cell_tint, foreign_cell, foreign_slide
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.synthetic import draw_field


def grey(crop: Image) -> Image:
    return np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def channel(crop: Image) -> Image:
    return np.repeat(crop[:, :, 2:], 3, axis=2)


def turned(crop: Image) -> Image:
    """The hue by 120 degrees: red becomes green."""
    return np.ascontiguousarray(crop[:, :, [2, 0, 1]])


@pytest.fixture(scope="module")
def crops() -> list[Image]:
    image, truth = draw_field(0, 960, 720, cell_diameter_px=60, parasitemia=0.3)
    cells = [o for o in truth.red_cells if o.whole][:40]
    return [
        np.where(o.mask[:, :, None], image[o.box[1] : o.box[3], o.box[0] : o.box[2]], 0)
        for o in cells
    ]


def test_stained_cells_are_known(crops: list[Image]) -> None:
    tints = [cell_tint(crop) for crop in crops]
    assert not any(foreign_cell(tint) for tint in tints)
    assert not foreign_slide(tints)


@pytest.mark.parametrize("change", [grey, channel])
def test_each_colourless_cell_is_foreign(
    crops: list[Image], change: Callable[[Image], Image]
) -> None:
    assert all(foreign_cell(cell_tint(change(crop))) for crop in crops)


def test_a_turned_hue_is_foreign_to_the_slide(crops: list[Image]) -> None:
    tints = [cell_tint(turned(crop)) for crop in crops]
    assert foreign_slide(tints)
    assert not foreign_slide(tints[:5]), "five cells do not tell a slide's colour"


def test_what_shows_nothing_is_foreign() -> None:
    assert foreign_cell(cell_tint(np.zeros((40, 40, 3), np.uint8)))


@pytest.mark.parametrize("change", [grey, channel, turned])
def test_the_classifier_labels_none_of_them(
    crops: list[Image], change: Callable[[Image], Image]
) -> None:
    classifier = Classifier(read_bundle(shipped_bundle()))
    assert {p.label for p in classifier.classify(crops)} != {"unsure"}
    assert {p.label for p in classifier.classify([change(c) for c in crops])} == {"unsure"}


@pytest.mark.slow
def test_real_parasitized_crops_without_colour_are_unsure(data_dir: Path) -> None:
    dataset = open_dataset(data_dir / "nih" / "cell_images.zip").select("train")
    rows = [row for row in dataset.rows if row.label][::150]
    real = [dataset.read(row) for row in rows]
    assert not any(foreign_cell(cell_tint(crop)) for crop in real)
    for change in (grey, channel):
        assert all(foreign_cell(cell_tint(change(crop))) for crop in real)
