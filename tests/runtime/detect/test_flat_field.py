"""Flat-field correction: shading is divided out, even fields are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from edge_malaria.records import Image
from edge_malaria.runtime.detect.flat_field import UNEVEN, field_correction, measure_shading
from edge_malaria.synthetic import draw_field


def pink_and_green(field: Image) -> Image:
    """A field as a Raspberry Pi camera without shading table gives it: pink edges, green middle."""
    y, x = np.mgrid[-1 : 1 : field.shape[0] * 1j, -1 : 1 : field.shape[1] * 1j]
    far = np.clip(np.hypot(x, y), 0, 1.2)[:, :, None]
    gain = 0.55 + far**2 * np.array([0.45, 0.16, 0.22])
    return np.asarray(np.clip(field * gain, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def field() -> Image:
    return draw_field(4, 960, 720, cell_diameter_px=55, density=0.3)[0]


def test_an_even_field_is_returned_as_it_is(field: Image) -> None:
    correction = field_correction(field)
    assert not correction.needed
    assert correction.apply(field) is field
    assert correction.unevenness < UNEVEN


def test_strong_shading_is_flattened_and_absorbance_kept(field: Image) -> None:
    shaded = pink_and_green(field)
    assert measure_shading(shaded).unevenness > UNEVEN
    correction = field_correction(shaded)
    flat = correction.apply(shaded)
    assert measure_shading(flat).unevenness < 1.15
    # Up to one factor a channel for the whole field, the picture is the unshaded one.
    ratio = flat.astype(np.float64) / np.maximum(field, 1)
    inner = ratio[60:-60:7, 60:-60:7].reshape(-1, 3)
    spread = np.percentile(inner, 90, axis=0) / np.percentile(inner, 10, axis=0)
    assert (spread < 1.15).all()


def test_a_copy_at_another_size_is_corrected_alike(field: Image) -> None:
    shaded = pink_and_green(field)
    correction = field_correction(shaded)
    whole = correction.apply(shaded)[::2, ::2].astype(int)
    half = correction.apply(np.ascontiguousarray(shaded[::2, ::2])).astype(int)
    assert np.abs(whole - half).mean() < 1.5


def test_what_shows_hardly_any_slide_is_not_flattened() -> None:
    rng = np.random.default_rng(1)
    blotches = rng.uniform(40, 230, (5, 6, 3)).astype(np.float32)
    image = np.kron(blotches, np.ones((140, 160, 1))).astype(np.uint8)
    assert field_correction(image).gain is None


def test_pale_cells_are_shown_to_the_finder_with_more_contrast(field: Image) -> None:
    pale = np.asarray(230 - (230 - field.astype(np.float64)) * 0.3, np.uint8)
    correction = field_correction(pale)
    assert correction.stretched(pale, 0.4) is pale
    shown = correction.stretched(pale, 0.08)
    assert shown.std() > 1.8 * pale.std()
    # The empty slide keeps its light.
    assert np.abs(np.percentile(shown, 95) - np.percentile(pale, 95)) < 6
