"""Drawn cells and smears: the truth fits the pixels, and a seed gives one picture."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.records import CELL_KINDS, Box, Image
from edge_malaria.synthetic import (
    BACKGROUNDS,
    DRAWN_KINDS,
    PARASITIZED_KINDS,
    RED_CELL_KINDS,
    STAINS,
    SmearTruth,
    draw_cell,
    draw_field,
)

kinds = st.sampled_from(DRAWN_KINDS)
small = {"width_px": 320, "height_px": 240, "cell_diameter_px": 40.0}


def sharpness(image: Image) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def part(image: Image, box: Box) -> Image:
    return image[box[1] : box[3], box[0] : box[2]]


@given(seed=st.integers(0, 2**32), kind=kinds, size=st.integers(24, 200))
@settings(max_examples=80, deadline=None)
def test_a_cell_is_cut_tight_with_black_around(seed: int, kind: str, size: int) -> None:
    cell = draw_cell(np.random.default_rng(seed), kind, size)  # type: ignore[arg-type]
    assert cell.image.dtype == np.uint8
    assert cell.image.shape == (*cell.mask.shape, 3)
    assert not cell.image[~cell.mask].any()
    for edge in (cell.mask[0], cell.mask[-1], cell.mask[:, 0], cell.mask[:, -1]):
        assert edge.any()
    assert cell.parasitized == (kind in PARASITIZED_KINDS) == (cell.parasite_box is not None)
    if cell.parasite_box is not None:
        x0, y0, x1, y1 = cell.parasite_box
        assert 0 <= x0 < x1 <= cell.image.shape[1]
        assert 0 <= y0 < y1 <= cell.image.shape[0]


@pytest.mark.parametrize("kind", DRAWN_KINDS)
def test_a_seed_gives_one_cell_and_another_seed_another(kind: str) -> None:
    one, same, other = (
        draw_cell(np.random.default_rng(seed), kind, 60).image  # type: ignore[arg-type]
        for seed in (5, 5, 6)
    )
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize("kind", sorted(PARASITIZED_KINDS))
def test_the_parasite_is_the_darkest_thing_in_its_cell(kind: str) -> None:
    inside = 0
    for seed in range(30):
        cell = draw_cell(np.random.default_rng(seed), kind, 120)  # type: ignore[arg-type]
        assert cell.parasite_box is not None
        # Chromatin takes green light away most.
        green = np.where(cell.mask, cell.image[:, :, 1], 255).astype(np.uint8)
        y, x = np.unravel_index(int(cv2.blur(green, (5, 5)).argmin()), green.shape)
        x0, y0, x1, y1 = cell.parasite_box
        inside += x0 - 2 <= x < x1 + 2 and y0 - 2 <= y < y1 + 2
    assert inside >= 29


def test_red_cells_have_about_the_asked_size() -> None:
    sides = [max(draw_cell(np.random.default_rng(s), size_px=100).mask.shape) for s in range(60)]
    assert 95 <= np.median(sides) <= 115


def test_stains_can_be_chosen() -> None:
    medians = {}
    for stain in STAINS:
        cells = [draw_cell(np.random.default_rng(s), size_px=60, stain=stain) for s in range(8)]
        medians[stain] = np.median(np.concatenate([c.image[c.mask] for c in cells]), axis=0)
    assert medians["orange"][0] - medians["orange"][2] > 30
    assert medians["violet"][2] - medians["violet"][0] > 10
    assert medians["magenta"][0] - medians["magenta"][1] > 50
    assert abs(medians["slate"][0] - medians["slate"][2]) < 30


@pytest.mark.parametrize(
    "call",
    [
        lambda: draw_cell(np.random.default_rng(0), "cat"),  # type: ignore[arg-type]
        lambda: draw_cell(np.random.default_rng(0), size_px=2),
        lambda: draw_cell(np.random.default_rng(0), stain="green"),
        lambda: draw_field(0, background="red"),
        lambda: draw_field(0, parasitemia=1.5),
        lambda: draw_field(0, parasitemia=float("nan")),
        lambda: draw_field(0, density=2.0),
        lambda: draw_field(0, width_px=8),
        lambda: draw_field(0, parasitemia=0.8, gametocytes=0.8),
        lambda: draw_field(-1),
    ],
)
def test_settings_that_make_no_sense_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()  # type: ignore[operator]


@given(
    seed=st.integers(0, 2**20),
    parasitemia=st.sampled_from([0.0, 0.1, 1.0]),
    density=st.floats(0.0, 0.7),
    overlap=st.floats(0.0, 1.0),
)
@settings(max_examples=25, deadline=None)
def test_the_truth_of_a_field_is_consistent(
    seed: int, parasitemia: float, density: float, overlap: float
) -> None:
    image, truth = draw_field(
        seed, parasitemia=parasitemia, density=density, overlap=overlap, **small
    )
    assert image.shape == (240, 320, 3)
    assert image.dtype == np.uint8
    for thing in truth.objects:
        x0, y0, x1, y1 = thing.box
        assert 0 <= x0 < x1 <= 320
        assert 0 <= y0 < y1 <= 240
        assert thing.mask.shape == (y1 - y0, x1 - x0)
        assert thing.mask[0].any() and thing.mask[-1].any()
        assert thing.mask[:, 0].any() and thing.mask[:, -1].any()
        assert thing.cell_kind in CELL_KINDS
        assert (thing.stage is not None) == thing.parasitized
        if thing.whole:
            assert bool(thing.parasite_boxes) == thing.parasitized
    if parasitemia == 0.0:
        assert not truth.parasitized
    if parasitemia == 1.0:
        assert truth.parasitized == truth.red_cells
    if not truth.red_cells:
        assert truth.parasitemia is None
    labels = truth.label_map()
    for index in np.unique(labels[labels > 0]):
        x0, y0, x1, y1 = truth.objects[index - 1].box
        ys, xs = np.nonzero(labels == index)
        assert x0 <= xs.min() and xs.max() < x1 and y0 <= ys.min() and ys.max() < y1


def test_the_masks_lie_on_the_cells() -> None:
    image, truth = draw_field(
        3, noise=0.0, vignette=0.0, background="white", stain="violet", platelets=0, debris=0
    )
    on = truth.label_map() > 0
    # Two pixels of soft edge belong to neither side.
    element = np.ones((5, 5), np.uint8)
    inner = cv2.erode(on.astype(np.uint8), element) > 0
    outer = cv2.dilate(on.astype(np.uint8), element) == 0
    assert np.percentile(image[inner][:, 1], 99) < np.percentile(image[outer][:, 1], 1)


def test_a_field_has_one_picture_for_a_seed() -> None:
    one, truth = draw_field(11, **small)
    same, again = draw_field(11, **small)
    other, _ = draw_field(12, **small)
    assert np.array_equal(one, same)
    assert [(t.box, t.kind) for t in truth.objects] == [(t.box, t.kind) for t in again.objects]
    assert not np.array_equal(one, other)


def test_the_bits_are_those_of_other_machines() -> None:
    # Stated so that a machine or a library version that draws otherwise is noticed.
    cells = hashlib.sha256()
    for index, kind in enumerate(DRAWN_KINDS):
        cells.update(draw_cell(np.random.default_rng(index), kind, 64).image.tobytes())
    assert cells.hexdigest()[:16] == "4ca9e6a1fa37e8a9"
    field, _ = draw_field(1, parasitemia=0.2, **small)
    assert hashlib.sha256(field.tobytes()).hexdigest()[:16] == "39ee690b35d0be79"


def touching_share(truth: SmearTruth) -> float:
    """Share of red cells within a pixel of another, by their masks."""
    count = np.zeros((truth.height_px + 2, truth.width_px + 2), np.uint8)
    grown = []
    for cell in truth.red_cells:
        mask = np.zeros_like(count)
        x0, y0, x1, y1 = cell.box
        mask[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1] = cell.mask
        grown.append(cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0)
        count += grown[-1]
    return float(np.mean([(count[mask] > 1).any() for mask in grown]))


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.7, 1.0])
def test_the_share_of_touching_cells_can_be_set(overlap: float) -> None:
    shares = [
        touching_share(draw_field(s, 960, 720, 48.0, density=0.3, overlap=overlap)[1])
        for s in range(2)
    ]
    assert np.mean(shares) == pytest.approx(overlap, abs=0.08)


@pytest.mark.parametrize("density", [0.1, 0.35, 0.6])
def test_the_density_can_be_set(density: float) -> None:
    _, truth = draw_field(2, 1280, 960, 60.0, density=density, overlap=0.4)
    asked = density * 1280 * 960 / (0.7854 * 60.0**2)
    whole = sum(cell.whole for cell in truth.red_cells)
    assert whole <= len(truth.red_cells)
    # Cut cells at the border come on top of those whose middle lies inside.
    assert 0.8 * asked <= len(truth.red_cells) <= 1.3 * asked + 5


def test_everything_can_be_asked_for() -> None:
    drawn: set[str] = set()
    for seed in range(4):
        _, truth = draw_field(
            seed, parasitemia=0.4, gametocytes=0.1, white_cells=0.05, debris=0.1, overlap=0.3
        )
        drawn |= {thing.kind for thing in truth.objects}
    assert drawn == set(DRAWN_KINDS)
    assert set(RED_CELL_KINDS) < drawn


def test_platelets_lie_on_cells_as_asked() -> None:
    def share(wanted: float) -> float:
        _, truth = draw_field(4, platelets=0.5, platelets_on_cells=wanted, overlap=0.0)
        red = np.zeros((truth.height_px, truth.width_px), bool)
        for cell in truth.red_cells:
            x0, y0, x1, y1 = cell.box
            red[y0:y1, x0:x1] |= cell.mask
        found = [t for t in truth.objects if t.kind == "platelet"]
        hits = [red[t.box[1] : t.box[3], t.box[0] : t.box[2]][t.mask].any() for t in found]
        return float(np.mean(hits))

    assert share(1.0) > 0.95
    assert share(0.0) < 0.1


def test_gametocytes_are_left_out_of_the_parasitemia() -> None:
    _, truth = draw_field(5, parasitemia=0.0, gametocytes=0.5)
    assert truth.parasitized
    assert truth.parasitemia == 0.0


def test_backgrounds_can_be_chosen() -> None:
    for name, colour in BACKGROUNDS.items():
        image, truth = draw_field(6, background=name, vignette=0.0, noise=0.0, density=0.1, **small)
        clear = np.median(image[truth.label_map() == 0], axis=0)
        assert np.abs(clear - np.array(colour)).max() <= 25, name


def test_light_defocus_and_vignette_do_what_they_say() -> None:
    plain, _ = draw_field(7, vignette=0.0, noise=0.0, background="grey", **small)
    dark, _ = draw_field(7, vignette=0.0, noise=0.0, background="grey", light=0.5, **small)
    blurred, _ = draw_field(7, vignette=0.0, noise=0.0, background="grey", defocus_px=4, **small)
    shaded, _ = draw_field(7, vignette=0.6, noise=0.0, background="grey", **small)
    noisy, _ = draw_field(7, vignette=0.0, noise=3.0, background="grey", **small)
    assert dark.mean() == pytest.approx(plain.mean() / 2, rel=0.02)
    assert sharpness(blurred) < 0.2 * sharpness(plain)
    corner = (slice(0, 24), slice(0, 32))
    assert shaded[corner].mean() < 0.65 * plain[corner].mean()
    assert (noisy.astype(float) - plain).std() == pytest.approx(3.0, rel=0.1)
