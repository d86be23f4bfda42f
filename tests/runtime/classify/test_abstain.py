"""Saying "unsure" of what is no red cell."""

from __future__ import annotations

import numpy as np
import pytest

from edge_malaria.prepare.preprocess import network_input
from edge_malaria.runtime.classify.abstain import MARGINS, cell_features, fit_limits, not_a_red_cell
from edge_malaria.synthetic import draw_cell


def drawn(kind: str, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cells = [draw_cell(rng, kind) for _ in range(count)]
    return np.stack([network_input(cell.image, 48, cell.mask) for cell in cells])


@pytest.fixture(scope="module")
def fitted() -> dict[str, object]:
    return fit_limits(np.concatenate([drawn("healthy", 150, 1), drawn("ring", 150, 2)]))


def test_red_cells_keep_their_label(fitted: dict[str, object]) -> None:
    assert not_a_red_cell(drawn("healthy", 100, 3), fitted).mean() <= 0.01
    assert not_a_red_cell(drawn("ring", 100, 4), fitted).mean() <= 0.01


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_crops_are_refused(fitted: dict[str, object], level: int) -> None:
    assert not_a_red_cell(np.full((1, 48, 48, 3), level, np.uint8), fitted).all()


def test_no_cells_need_no_answer(fitted: dict[str, object]) -> None:
    assert not_a_red_cell(np.zeros((0, 48, 48, 3), np.uint8), fitted).shape == (0,)


def test_measures_are_finite_for_anything() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 48, 3), dtype=np.uint8)
    for values in cell_features(
        np.concatenate([noise, np.zeros((1, 48, 48, 3), np.uint8)])
    ).values():
        assert np.isfinite(values).all()


def test_measures_are_those_of_their_definition() -> None:
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    noise[1, :20] = 0
    noise[2] = 0
    batch = np.concatenate([drawn("healthy", 4, 6), drawn("white-cell", 2, 7), noise])
    found = cell_features(batch, MARGINS)
    for index, crop in enumerate(batch):
        inside = crop.max(axis=2) > 8
        count = max(int(inside.sum()), 1)
        density = -np.log10((crop.astype(np.float64) + 1) / 256)
        median = float(np.median(density[inside, 0])) if inside.any() else 0.0
        grey = crop.astype(np.float64).mean(axis=2)
        across = np.abs(np.diff(grey, axis=1))[inside[:, 1:] & inside[:, :-1]].sum()
        down = np.abs(np.diff(grey, axis=0))[inside[1:] & inside[:-1]].sum()
        expected = {
            "foreground": inside.mean(),
            "density": density[inside].sum() / (3 * count),
            "nucleus": (inside & (density[:, :, 0] > median + 0.15)).sum() / count,
            "detail": (across + down) / (2 * count),
        }
        for name, value in expected.items():
            assert found[name][index] == pytest.approx(value, rel=1e-5), name


def test_limits_of_one_measure_decide_alone() -> None:
    cells = drawn("healthy", 100, 9)
    values = cell_features(cells, MARGINS)
    every = {"limits": {k: [float(v.min()), float(v.max())] for k, v in values.items()}}
    assert not not_a_red_cell(cells, every).any()
    assert not_a_red_cell(np.zeros((1, 48, 48, 3), np.uint8), every).all()
    dark_core = cells[:1].copy()
    dark_core[:, 12:36, 12:36, 0] //= 4
    assert not_a_red_cell(dark_core, {"limits": {"nucleus": every["limits"]["nucleus"]}}).all()
