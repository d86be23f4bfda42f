"""The slide's colour scaling: what it maps where, with which bits, and what it leaves alone."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from edge_malaria.prepare import stain
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.preprocess import CONTRACT_STEPS, network_input
from edge_malaria.prepare.stain import (
    HOME_RGB,
    MOST_CELLS,
    WINDOW_CELLS,
    SlideColour,
    StainScaling,
    cell_colour,
    crops_colour,
    evenly,
    median_colour,
    scaled,
)

COLOURS = [(60, 40, 70), (125, 118, 125), (152, 46, 126), (183, 187, 216), (240, 230, 235)]


def test_the_home_laboratory_stays_as_it_is() -> None:
    table = StainScaling().table(HOME_RGB)
    np.testing.assert_array_equal(table, np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1))


@pytest.mark.parametrize("colour", COLOURS)
def test_the_slides_median_cell_becomes_the_homes(colour: tuple[int, int, int]) -> None:
    table = StainScaling().table(colour)
    got = [int(table[level, channel]) for channel, level in enumerate(colour)]
    assert np.abs(np.array(got) - HOME_RGB).max() <= 1
    assert (np.diff(table.astype(int), axis=0) >= 0).all()
    assert (table[0] == 0).all()


def test_density_is_multiplied_within_limits_and_shifted_beyond() -> None:
    # A slide half as dense as home: what lies above its median is doubled.
    home = HOME_RGB[1]
    half = round(255 * math.exp(-math.log(255 / home) / 2))
    table = StainScaling().table((half, half, half))[:, 1]
    darker = round(half * math.exp(-0.2))
    assert math.log(home / table[darker]) == pytest.approx(0.4, abs=0.03)
    # A nearly magenta one keeps six tenths of a parasite's contrast.
    table = StainScaling().table((46, 46, 46))[:, 1]
    darker = round(46 * math.exp(-0.5))
    assert math.log(home / table[darker]) == pytest.approx(0.6 * 0.5, abs=0.03)


def test_the_same_bits_on_every_processor() -> None:
    # No density lies near the middle of two steps, where another logarithm could round it apart.
    exact = [stain.UNIT * math.log(255 / level) for level in range(1, 256)]
    assert min(abs(value % 1.0 - 0.5) for value in exact) > 1e-5
    every = [StainScaling().table((v, (v * 7) % 256, 255 - v)) for v in range(0, 256, 5)]
    digest = hashlib.sha256(np.stack(every).tobytes()).hexdigest()
    assert digest == "222bd45e8e44a1f7705a332f73cf91a35bcac7d8f5e3bd8ca6d54d733cdf04c8"


def test_a_black_background_stays_black_for_any_stain() -> None:
    for colour in COLOURS:
        table = StainScaling().table(colour)
        noise = np.full((4, 4, 3), 6, np.uint8)
        assert scaled(noise, table).max() <= 30, colour


def test_scaling_comes_before_mask_and_resize() -> None:
    rng = np.random.default_rng(3)
    crop = rng.integers(60, 240, (70, 66, 3), dtype=np.uint8)
    mask = rng.random((70, 66)) > 0.3
    table = StainScaling().table((150, 50, 125))
    got = network_input(crop, 48, mask, table)
    np.testing.assert_array_equal(got, network_input(scaled(crop, table), 48, mask))
    assert (got != network_input(crop, 48, mask)).any()
    np.testing.assert_array_equal(
        network_input(crop, 48, mask, None), network_input(crop, 48, mask)
    )


def test_a_cells_colour_is_its_own_not_the_backgrounds() -> None:
    crop = np.zeros((60, 60, 3), np.uint8)
    crop[10:50, 10:50] = (150, 90, 120)
    assert cell_colour(crop) == (150, 90, 120)
    lit = np.full((60, 60, 3), 230, np.uint8)
    lit[20:40, 20:40] = (150, 90, 120)
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    assert cell_colour(lit, mask) == (150, 90, 120)
    assert cell_colour(np.zeros((9, 9, 3), np.uint8)) is None
    assert crops_colour([lit, lit, crop], [mask, mask, None]) == (150, 90, 120)
    assert crops_colour([]) is None


def test_the_median_of_an_even_number_is_one_of_them() -> None:
    assert median_colour([(1, 5, 9), (3, 7, 2), (2, 6, 4), (9, 8, 3)]) == (2, 6, 3)


def test_a_field_of_few_cells_takes_those_before_it_along() -> None:
    slide = SlideColour()
    assert slide.take([(100, 100, 100)] * 40) == (100, 100, 100)
    assert len(slide.window) == WINDOW_CELLS
    assert slide.take([(200, 200, 200)] * 5) == (100, 100, 100)
    assert slide.take([(200, 200, 200)] * (WINDOW_CELLS + 1)) == (200, 200, 200)
    assert slide.take([None, None]) == (200, 200, 200)
    assert SlideColour().take([]) is None


def test_a_restored_window_goes_on_alike() -> None:
    slide, other = SlideColour(), SlideColour()
    slide.take([(v, 2 * v, 90) for v in range(60, 84)])
    other.restore(tuple(slide.window))
    more = [(120, 130, 140)] * 4
    assert slide.take(more) == other.take(more)
    assert slide.window == other.window


def test_evenly_spreads_over_the_whole() -> None:
    assert evenly(3) == [0, 1, 2]
    assert evenly(0) == []
    chosen = evenly(1000)
    assert len(chosen) == MOST_CELLS
    assert (chosen[0], chosen[-1] > 980, sorted(set(chosen)) == chosen) == (0, True, True)


def test_the_contract_names_the_step_or_not() -> None:
    plain, stained = Preparation(48), Preparation(48, stain=StainScaling((190, 150, 155)))
    assert plain.steps == CONTRACT_STEPS
    assert "stain" not in plain.as_json()
    assert stained.steps == (stain.STEP, *CONTRACT_STEPS)
    for how in (plain, stained):
        assert Preparation.from_json(how.as_json()) == how
    # Neither the step without its colour nor a colour without the step is executed.
    for damaged in ({"stain": None}, {"steps": list(CONTRACT_STEPS)}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            Preparation.from_json({**stained.as_json(), **damaged})
    with pytest.raises(ValueError, match="home_rgb"):
        StainScaling((255, 150, 155))
