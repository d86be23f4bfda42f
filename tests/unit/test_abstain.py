"""Saying "unsure" of what is no red cell."""

from __future__ import annotations

import numpy as np
import pytest

from edge_malaria.preprocess import network_input
from edge_malaria.runtime.abstain import MARGINS, cell_features, fit_limits, not_a_red_cell
from edge_malaria.runtime.foreign import NAMES, colour_measures, rule_scores, shipped_rules
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


def test_white_cells_are_refused(fitted: dict[str, object]) -> None:
    assert not_a_red_cell(drawn("white-cell", 60, 5), fitted).mean() >= 0.9


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
    found = cell_features(batch, [*MARGINS, "nucleus"])
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
    assert np.isfinite(colour_measures(batch)).all()


def test_colour_measures_ignore_the_lamp() -> None:
    """Half the light in every channel: no measure of composition moves by more than rounding."""
    cells = drawn("healthy", 20, 6)
    inside = cells.max(axis=3, keepdims=True) > 20
    bright = np.where(inside, np.clip(cells, 100, 250), 0).astype(np.uint8)
    dim = np.where(inside, (bright.astype(float) + 1) / 2 - 1, 0).round().astype(np.uint8)
    before, after = colour_measures(bright), colour_measures(dim)
    means = [NAMES.index(name) for name in ("red_over_blue", "green_over_blue")]
    assert np.abs(before[:, means] - after[:, means]).max() < 0.01


def test_a_cell_answers_the_same_alone_and_among_others() -> None:
    cells = np.concatenate([drawn("healthy", 5, 7), drawn("white-cell", 5, 8)])
    together = rule_scores(cells, shipped_rules())
    alone = np.concatenate([rule_scores(cell[None], shipped_rules()) for cell in cells])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_limits_of_an_older_bundle_still_decide() -> None:
    """Bundles of before hold four limits, the nucleus's among them, and no colour rules."""
    cells = drawn("healthy", 100, 9)
    values = cell_features(cells, [*MARGINS, "nucleus"])
    older = {"limits": {k: [float(v.min()), float(v.max())] for k, v in values.items()}}
    assert not not_a_red_cell(cells, older).any()
    assert not_a_red_cell(np.zeros((1, 48, 48, 3), np.uint8), older).all()
    dark_core = cells[:1].copy()
    dark_core[:, 12:36, 12:36, 0] //= 4
    assert not_a_red_cell(dark_core, {"limits": {"nucleus": older["limits"]["nucleus"]}}).all()


@pytest.mark.parametrize("size", [48, 47])
def test_colours_are_those_of_every_second_pixel(size: int) -> None:
    """The short cut for even sizes looks at the pixels that the definition names."""
    rng = np.random.default_rng(3)
    batch = rng.integers(9, 256, (2, size, size, 3), dtype=np.uint8)
    rows, columns = np.mgrid[0:size:2, 0:size:2]
    centre = (size - 2) / 2.0
    middle = np.hypot(rows - centre, columns - centre) < 0.78 * size / 2.0
    for crop, found in zip(batch, colour_measures(batch), strict=True):
        density = -np.log10((crop[::2, ::2][middle].astype(np.float64) + 1) / 256)
        over_blue = density[:, 0] - density[:, 2]
        assert found[NAMES.index("red_over_blue")] == pytest.approx(over_blue.mean(), abs=1e-5)
        deviation = found[NAMES.index("red_over_blue_deviation")]
        assert deviation == pytest.approx(over_blue.std(), rel=1e-4)
