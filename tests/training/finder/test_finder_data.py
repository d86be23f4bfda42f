"""What the finder may be fitted on, and that tiles and targets say what they show."""

from __future__ import annotations

import numpy as np
import pytest

from edge_malaria.errors import UsageError
from edge_malaria.training.finder.compose import compose
from edge_malaria.training.finder.data import FIT_SETS, fit_files, real_tile
from edge_malaria.training.finder.drawn import drawn_fields, finder_calibration_inputs
from edge_malaria.training.finder.scenes import PATCH_PX, RED, WHITE, absorbing_patch
from edge_malaria.training.finder.targets import targets
from edge_malaria.training.finder.tile_source import FinderPlan, TileSource


def patch() -> np.ndarray:
    axis = np.arange(90) - 44.5
    crop = np.where(np.hypot(axis[:, None], axis[None]) < 42, 150, 0)
    return absorbing_patch(np.repeat(crop[:, :, None], 3, axis=2).astype(np.uint8))


def test_report_thirds_are_never_opened(tmp_path):
    folder = tmp_path / "bccd" / "images"
    folder.mkdir(parents=True)
    for name in "gbdacfhei":
        (folder / f"{name}.png").touch()
    names = [path.stem for path in fit_files(tmp_path, "bccd")]
    assert names == ["a", "b", "d", "e", "g", "h"]


@pytest.mark.parametrize("name", ["iml", "bbbc041", "mpidb_preview", "westlake"])
def test_sets_that_must_not_train_shipped_weights_are_refused(tmp_path, name):
    (tmp_path / name / "images").mkdir(parents=True)
    with pytest.raises(UsageError, match="must not be trained on"):
        fit_files(tmp_path, name)


def test_fit_sets_are_those_with_a_licence():
    assert set(FIT_SETS) == {"bccd", "chula", "draaslan256"}


def test_a_patch_is_one_where_the_cell_is_plain_and_nothing_outside():
    one = patch()
    assert one.shape == (PATCH_PX, PATCH_PX, 4)
    middle = one[PATCH_PX // 2 - 5 : PATCH_PX // 2 + 5, PATCH_PX // 2 - 5 : PATCH_PX // 2 + 5]
    assert np.allclose(middle, 1.0, atol=0.05)
    assert one[0, 0].max() < 0.05


@pytest.mark.parametrize("seed", range(6))
def test_a_composed_tile_covers_what_its_boxes_name(seed):
    tile = compose(np.random.default_rng(seed), [patch()] * 4, 128)
    for box, kind in zip(tile.boxes, tile.kinds, strict=True):
        x, y = ((box[:2] + box[2:]) / 2).astype(int)
        if kind in (RED, WHITE) and 2 < x < 126 and 2 < y < 126:
            assert tile.cover[y, x] == 255
    assert tile.image.shape == (128, 128, 3)


@pytest.mark.parametrize("seed", range(8))
def test_turned_tiles_keep_boxes_on_their_cells(seed):
    (field,) = drawn_fields(1)
    tile = real_tile(np.random.default_rng(seed), field, 128)
    answer = targets(tile)
    y, x = np.nonzero(answer[:, :, 0] > 0.97)
    assert len(y) > 0
    # The middle of a red cell lies on a cell wherever the tile is known.
    known = answer[y, x, 9] > 0
    assert (answer[y, x, 3][known] == 1).mean() > 0.95


def test_chunks_are_the_same_for_the_same_plan():
    source = TileSource(np.stack([patch()] * 3).astype(np.float16), drawn_fields(1))
    plan = FinderPlan(batch=2, chunk=2)
    first, second, other = (source.chunk(plan, i) for i in (4, 4, 5))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_calibration_inputs_are_the_same_every_time_and_no_two_alike():
    tiles = finder_calibration_inputs(4)
    assert np.array_equal(tiles, finder_calibration_inputs(4))
    assert len({tile.tobytes() for tile in tiles}) == 4
    assert tiles.std() > 5
