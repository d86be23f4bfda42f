"""The drawn slide: overlapping views of one thing, and the stage that moves over it."""

from __future__ import annotations

import itertools
import tracemalloc

import cv2
import numpy as np
import pytest

from edge_malaria.records import Image
from edge_malaria.synthetic import DrawnSlide, DrawnStage


def sharpness(image: Image) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def slide(seed: int = 1, **more: object) -> DrawnSlide:
    settings: dict[str, object] = {
        "width_px": 1200,
        "height_px": 900,
        "view_px": (400, 300),
        "cell_diameter_px": 40.0,
        "noise": 0.0,
        **more,
    }
    return DrawnSlide(seed, 0.1, **settings)  # type: ignore[arg-type]


def test_overlapping_views_show_the_same_cells_shifted() -> None:
    drawn = slide()
    _, first = drawn.view(200, 200)
    _, second = drawn.view(260, 240)
    here = {thing.number: thing for thing in first.objects if thing.whole}
    shared = [thing for thing in second.objects if thing.whole and thing.number in here]
    assert len(shared) >= 10
    for thing in shared:
        other = here[thing.number]
        assert tuple(np.add(thing.box, (60, 40, 60, 40))) == other.box
        assert np.array_equal(thing.mask, other.mask)
        assert thing.kind == other.kind


def test_the_order_of_the_views_does_not_matter() -> None:
    forward, backward = slide(), slide()
    places = [(0, 0), (400, 300), (800, 600)]
    one = [forward.view(*place)[0] for place in places]
    two = [backward.view(*place)[0] for place in reversed(places)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_views_stay_on_the_slide() -> None:
    image, truth = slide().view(-50, 10_000)
    assert image.shape == (300, 400, 3)
    assert (truth.x_px, truth.y_px) == (0, 600)


def test_two_shots_of_one_place_differ_by_noise_alone() -> None:
    drawn = slide(noise=2.0)
    one, _ = drawn.view(100, 100, shot=0)
    two, _ = drawn.view(100, 100, shot=1)
    assert not np.array_equal(one, two)
    assert (one.astype(float) - two).std() == pytest.approx(2.0 * 2**0.5, rel=0.1)


def test_motion_blurs_along_the_movement() -> None:
    drawn = slide()
    still = drawn.view(100, 100)[0].astype(float)
    moved = drawn.view(100, 100, motion_px=(15.0, 0.0))[0].astype(float)
    along = (np.diff(moved, axis=1) ** 2).mean() / (np.diff(still, axis=1) ** 2).mean()
    across = (np.diff(moved, axis=0) ** 2).mean() / (np.diff(still, axis=0) ** 2).mean()
    assert along < 0.3
    assert across > 2 * along


def test_parasitemia_of_a_slide_is_what_was_asked() -> None:
    drawn = DrawnSlide(3, 0.1, width_px=8000, height_px=6000, platelets=0.0, debris=0.0)
    red = [place for place in drawn.layout.places if place.kind != "white-cell"]
    sick = sum(place.kind != "healthy" for place in red)
    assert len(red) > 3000
    # Four standard errors of a binomial share.
    assert sick / len(red) == pytest.approx(0.1, abs=4 * (0.09 / len(red)) ** 0.5)


@pytest.mark.slow
def test_a_long_scan_keeps_little_in_memory() -> None:
    stage = DrawnStage(0, 30, 0.01, view_px=(400, 300), cell_diameter_px=40.0)
    tracemalloc.start()
    cells = {thing.number for shot in stage for thing in shot.truth.red_cells}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Each takes about 27 kB while it is kept: all of them would be 28 MB. Those of few views and
    # the view itself take 14, however long the scan is.
    assert len(cells) > 1000
    assert peak < 18e6


def stage(motion: float, fields: int = 7) -> DrawnStage:
    return DrawnStage(
        2, fields, 0.1, motion=motion, view_px=(320, 240), cell_diameter_px=36.0, noise=0.0
    )


def test_without_motion_the_fields_lie_side_by_side() -> None:
    shots = list(stage(0.0))
    assert len(shots) == len(stage(0.0)) == 7
    assert all(shot.settled for shot in shots)
    whole = [t.number for s in shots for t in s.truth.objects if t.whole]
    assert len(whole) == len(set(whole)), "a cell is whole in two fields"
    corners = [(s.truth.x_px, s.truth.y_px) for s in shots]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        assert abs(x0 - x1) + abs(y0 - y1) in (320, 240)


def test_with_motion_views_overlap_travel_and_drift() -> None:
    shots = list(stage(1.0))
    assert len(shots) == len(stage(1.0))
    assert [shot.index for shot in shots] == list(range(len(shots)))
    settled = [shot for shot in shots if shot.settled]
    travelling = [shot for shot in shots if not shot.settled]
    assert len(settled) == 7
    assert np.mean([sharpness(s.image) for s in travelling]) < 0.7 * np.mean(
        [sharpness(s.image) for s in settled]
    )
    one, two = ({t.number for t in s.truth.objects} for s in settled[:2])
    assert one & two
    lamps = [np.percentile(s.image, 95) for s in settled]
    assert max(lamps) - min(lamps) > 4


def test_a_stage_can_be_scanned_twice() -> None:
    moving = stage(0.5, 3)
    first, second = list(moving), list(moving)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("settings", [{"fields": 0}, {"motion": 2.0}, {"motion": float("nan")}])
def test_stages_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        DrawnStage(0, **settings)  # type: ignore[arg-type]
