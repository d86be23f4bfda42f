"""Drawn cells behind the real ones of a batch: what they are, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edge_malaria.bundle.golden_draw import DEFAULT_SEED
from edge_malaria.records import Image
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier import drawn_cells
from edge_malaria.training.classifier.drawn_cells import WithDrawn, draw_both
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.recipe import Floats, Recipe

RECIPE = Recipe(epochs=1, batch=4)


class Real:
    """Two batches of grey cells that are all parasitized."""

    def __len__(self) -> int:
        return 8

    def batches(self, recipe: Recipe, epoch: int) -> Iterator[tuple[Floats, Floats]]:
        for _ in range(2):
            yield np.full((recipe.batch, 48, 48, 3), 99.0, np.float32), np.ones((4, 1), np.float32)


@pytest.fixture(scope="module")
def both() -> tuple[Image, Image]:
    return draw_both(48, each=6)


def test_drawn_cells_are_those_of_a_seed_that_no_golden_cell_has(
    both: tuple[Image, Image],
) -> None:
    assert drawn_cells.SEED != DEFAULT_SEED
    for cells, again in zip(both, draw_both(48, each=6), strict=True):
        assert cells.shape == (6, 48, 48, 3) and cells.dtype == np.uint8
        np.testing.assert_array_equal(cells, again)
        assert len(np.unique(cells, axis=0)) == 6


def test_each_batch_ends_with_drawn_cells_that_teach_what_is_said_already(
    both: tuple[Image, Image],
) -> None:
    network = build("micro", 48)
    given = WithDrawn(Real(), network, *both, count=5)
    assert len(given) == 8
    first, second = given.batches(RECIPE, 0)
    for cells, targets in (first, second):
        assert cells.shape == (9, 48, 48, 3) and targets.shape == (9, 1)
        assert (cells[:4] == 99.0).all() and (targets[:4] == 1.0).all()
        assert (cells == np.rint(cells)).all() and cells.min() >= 0 and cells.max() <= 255
        said = 1.0 / (1.0 + np.exp(-predict(network, cells[4:].astype(np.uint8))))
        np.testing.assert_allclose(targets[4:, 0], said, atol=1e-5)
    assert (first[0][4:] != second[0][4:]).any(), "drawn anew in each batch"
    again = next(iter(given.batches(RECIPE, 0)))
    np.testing.assert_array_equal(first[0], again[0])
    other = next(iter(given.batches(RECIPE, 1)))
    assert (first[0][4:] != other[0][4:]).any(), "and in each pass"


def test_half_of_them_are_blends(both: tuple[Image, Image]) -> None:
    parasitized, healthy = np.full_like(both[0], 200), np.full_like(both[1], 100)
    given = WithDrawn(Real(), build("micro", 48), parasitized, healthy, count=400)
    cells, _ = next(iter(given.batches(RECIPE, 0)))
    levels = cells[4:, 0, 0, 0]
    assert ((levels >= 100) & (levels <= 200)).all()
    whole = (levels == 100) | (levels == 200)
    assert 0.4 < whole.mean() < 0.6
    assert 0.3 < (levels[whole] == 200).mean() < 0.7
