"""Accepts or refuses a field, with a reason that tells the health worker what to change.

Everything is measured on a picture shrunk to ``WORK_SIDE_PX`` from the absorbance, that is relative
to the empty slide's own light, and relative to the cells' own size. The limits and how they were
chosen stand in quality.toml.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image, Mask, expect, expect_image
from edge_malaria.runtime.detect.flat_field import FieldCorrection
from edge_malaria.runtime.detect.light import FloatMap, absorbance, shrink, strongest

WORK_SIDE_PX = 480
# At least so many values take part in a median.
_MEDIAN_OF = 10_000

NOT_THIN = "not-a-thin-smear"

REASONS = {
    "unreadable": "The file could not be read, or it is damaged.",
    "too-dark": "Too dark. Open the condenser or raise the lamp.",
    "too-bright": "Too bright. Lower the lamp or the exposure.",
    "clipped": "Large black parts. Look for a frame, a shade or a blocked light path.",
    "no-colour": "Hardly any colour. Take the picture in colour, not one channel of it.",
    "no-cells": "No red cells to count. Move to where the cells lie side by side.",
    "too-dense": "Cells lie on each other. Move towards the thin, feathered end of the smear.",
    NOT_THIN: "Not a thin smear: single red cells do not stand out. Use the thin film.",
    "out-of-focus": "Out of focus. Turn the fine focus until the cell edges are sharp.",
    "cells-missed": "Most cells were not recognized. Move to where they lie side by side.",
    "scale": "Cells of another size than on this slide. Keep to one objective, and single cells.",
    "too-small": "Cells are too small in the picture. Use the 100x objective, or more pixels.",
    "stain": "The stain's colours are out of range. Check the stain and the white balance.",
}


@dataclass(frozen=True)
class QualityLimits:
    """The limits of quality.toml; see the comments there."""

    min_background: float = 60.0
    max_burnt: float = 0.85
    max_black: float = 0.10
    min_lit: float = 0.25
    min_colour: float = 0.05
    sure_colour: float = 0.07
    min_cover: float = 0.02
    max_cover: float = 0.78
    min_contrast: float = 0.06
    min_separation: float = 0.825
    sparse_cover: float = 0.15
    min_separation_rest: float = 0.845
    max_depth: float = 9.0
    min_focus: float = 2.7
    min_detail: float = 0.0155
    max_rim: float = 1.72
    faint_rim: float = 0.095
    min_red_to_green: float = -0.1
    max_red_to_green: float = 2.0
    max_blue_to_green: float = 1.6
    min_diameter_px: float = 20.0
    vouch_cells: int = 5
    vouch_score: float = 0.6
    vouch_explained: float = 0.25
    vouch_filled: float = 0.3
    min_explained: float = 0.45
    min_cells: int = 3
    min_counted_share: float = 0.2

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            expect(bool(np.isfinite(value)), f"{item.name} to be a number", value)


@dataclass(frozen=True)
class Separation:
    """How well a foreground stands out.

    Attributes:
        cover: foreground's share of the pixels looked at, 0-1.
        contrast: its median absorbance, natural log.
        explained: share of the variance that two classes explain, 0-1.
        steepness: median edge gradient / contrast, per px of the work picture.
    """

    cover: float
    contrast: float
    explained: float
    steepness: float


@dataclass(frozen=True)
class FieldQuality:
    """What was measured on a field and whether it is accepted.

    Attributes:
        reason: a key of ``REASONS``; empty where the field is accepted.
        measures: name -> value, as far as the field got.
        finder_decides: the reason stands unless the finder is sure of many single cells.
        ground: bool [h, w], what is stained in the work picture; None where it got not so far.
    """

    reason: str
    measures: dict[str, float]
    finder_decides: bool = False
    ground: Mask | None = field(default=None, repr=False, compare=False)

    @property
    def accepted(self) -> bool:
        """Whether the field may be counted."""
        return self.reason == ""

    def faint_colour(self, limits: QualityLimits) -> bool:
        """Whether the cells have too little colour for a classifier; True where it is not known."""
        return not (self.measures.get("colour", 0.0) >= limits.sure_colour)


def _some_of(mask: Mask) -> NDArray[np.int64]:
    """Places of the mask in reading order, every n-th of many: a picture is no finer than that."""
    places = np.flatnonzero(mask)
    return places[:: max(1, places.size // _MEDIAN_OF)]


def _median(values: FloatMap, mask: Mask) -> float:
    """The median of the values under a mask of the same shape."""
    return float(np.median(values.ravel()[_some_of(mask)]))


def _foreground(taken: FloatMap, where: Mask | None) -> Mask:
    """Otsu's cut, pulled towards the background, among the pixels of ``where``."""
    values = taken if where is None else taken[where]
    top = float(values.ravel()[:: max(1, values.size // 20000)].max()) if values.size else 0.0
    if not (top > 0.02):
        return np.zeros(taken.shape, np.bool_)
    grey = cv2.convertScaleAbs(values.reshape(-1, 1), alpha=255.0 / top)
    cut, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    high = (grey > cut).ravel()
    if not high.any() or high.all():
        return np.zeros(taken.shape, np.bool_)
    flat = values.ravel()
    ground, cells = _median(flat, ~high), _median(flat, high)
    found = taken > max(0.02, ground + 0.42 * (cells - ground))
    return np.asarray(found if where is None else found & where, np.bool_)


def separation(taken: FloatMap, where: Mask | None = None) -> tuple[Separation, Mask]:
    """How well cells stand out of the empty slide, and the foreground.

    Args:
        taken: float32 [H, W], absorbance.
        where: bool [H, W], the pixels that are looked at; None for all.
    """
    mask = _foreground(taken, where)
    total = taken.size if where is None else int(where.sum())
    inside = int(mask.sum())
    if inside == 0 or total == inside:
        return Separation(inside / max(total, 1), 0.0, 0.0, 0.0), mask
    contrast = _median(taken, mask)
    cut = np.minimum(taken, contrast)
    solid = mask.astype(np.uint8)
    seen = None if where is None else where.astype(np.uint8)
    rest = 1 - solid if seen is None else seen & ~solid
    cover = inside / total
    step = cv2.mean(cut, solid)[0] - cv2.mean(cut, rest)[0]
    spread = float(cv2.meanStdDev(cut, mask=seen)[1].item()) ** 2
    explained = cover * (1 - cover) * step**2 / max(spread, 1e-9)
    edge = cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    # Of bytes that hold 0 or 1 the places are found four times as fast as of numbers.
    places = np.flatnonzero((edge if seen is None else edge & seen).view(np.bool_))
    dx = cv2.Sobel(cut, cv2.CV_32F, 1, 0, scale=1 / 8).ravel()[places]
    dy = cv2.Sobel(cut, cv2.CV_32F, 0, 1, scale=1 / 8).ravel()[places]
    steep = float(np.median(np.hypot(dx, dy))) / max(step, 1e-6) if places.size else 0.0
    return Separation(cover, contrast, explained, steep), mask


def assess_light_path(
    correction: FieldCorrection, limits: QualityLimits | None = None
) -> FieldQuality:
    """Whether enough of the field is lit."""
    limit = limits or QualityLimits()
    aperture = correction.aperture
    lit = 1.0 if aperture is None else aperture.lit_share
    measures = {"lit": lit, "unevenness": correction.unevenness}
    return FieldQuality("" if lit >= limit.min_lit else "clipped", measures)


def assess(image: Image, limits: QualityLimits | None = None) -> FieldQuality:
    """Light, contrast, kind of smear, focus and stain of a field, before its cells are found.

    Args:
        image: uint8 [H, W, 3] RGB.
        limits: by default those of quality.toml.
    """
    expect_image(image, "field")
    limit = limits or QualityLimits()
    small = shrink(image, min(1.0, WORK_SIDE_PX / max(image.shape[:2])))
    light = _light(small)
    reason = _light_reason(light, limit)
    if reason:
        return FieldQuality(reason, light)
    channels = absorbance(small)
    taken = strongest(channels)
    first, mask = separation(taken)
    ground = mask
    measures = {**light, **asdict(first)}
    if not (first.contrast >= limit.min_contrast):
        return FieldQuality("no-cells", measures)
    top = float(np.percentile(taken[::2, ::2], 99.5))
    measures["depth"] = top / max(first.contrast, 1e-6)
    used = first
    if not (first.cover >= limit.sparse_cover):
        near = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        rest, rest_mask = separation(taken, ~near)
        measures |= {f"rest_{name}": value for name, value in asdict(rest).items()}
        # Nuclei alone crossed the cut: the red cells are what is left, if they separate.
        if rest.contrast >= limit.min_contrast and rest.explained >= limit.min_separation_rest:
            used, mask, ground = rest, rest_mask, mask | rest_mask
            measures["steepness"] = rest.steepness
    measures |= _colours(channels, mask)
    if not (measures["colour"] >= limit.min_colour):
        return FieldQuality("no-colour", measures)
    reason = _cell_reason(measures, first, used, limit)
    return FieldQuality(reason, measures, finder_decides=reason == NOT_THIN, ground=ground)


def _light(small: Image) -> dict[str, float]:
    thin, pixels = small[::2, ::2], small.shape[0] * small.shape[1]
    return {
        "background": float(np.percentile(thin[:, :, 1], 95)),
        "burnt": cv2.countNonZero(cv2.inRange(small, (253, 253, 253), (255, 255, 255))) / pixels,
        "black": cv2.countNonZero(cv2.inRange(small, (0, 0, 0), (29, 29, 29))) / pixels,
    }


def _light_reason(light: dict[str, float], limit: QualityLimits) -> str:
    if not (light["background"] >= limit.min_background):
        return "too-dark"
    if not (light["burnt"] <= limit.max_burnt):
        return "too-bright"
    return "" if light["black"] <= limit.max_black else "clipped"


def _colours(channels: FloatMap, mask: Mask) -> dict[str, float]:
    if not mask.any():
        return {"red_to_green": 0.0, "blue_to_green": 0.0, "colour": 0.0}
    red, green, blue, _ = cv2.mean(channels, mask.astype(np.uint8))
    inside = channels.reshape(-1, 3)[_some_of(mask)]
    grey = inside.mean(axis=1, keepdims=True)
    strength = float(np.median(inside.max(axis=1)))
    return {
        "colour": float(np.abs(inside - grey).mean()) / max(strength, 1e-3),
        "red_to_green": red / max(green, 1e-3),
        "blue_to_green": blue / max(green, 1e-3),
    }


def _cell_reason(
    measures: dict[str, float], first: Separation, used: Separation, limit: QualityLimits
) -> str:
    sparse = not (first.cover >= limit.sparse_cover)
    if used is first:
        few_but_clear = sparse and first.cover >= 0.09 and first.explained >= limit.min_separation
        if sparse and not few_but_clear:
            # Something dark on a haze that does not separate into cells.
            return NOT_THIN if first.cover >= limit.min_cover / 4 else "no-cells"
        if not (first.explained >= limit.min_separation):
            return NOT_THIN
        if not (measures["depth"] <= limit.max_depth):
            return NOT_THIN
    if not (used.cover >= limit.min_cover):
        return "no-cells"
    if not (used.cover <= limit.max_cover):
        return "too-dense"
    colour_ok = (
        limit.min_red_to_green <= measures["red_to_green"] <= limit.max_red_to_green
        and measures["blue_to_green"] <= limit.max_blue_to_green
    )
    return "" if colour_ok else "stain"


def describe(measures: dict[str, float]) -> dict[str, float]:
    """The measures rounded for a report; what is no number is left out."""
    rounded = {name: round(float(value), 4) for name, value in measures.items()}
    return {name: value for name, value in rounded.items() if np.isfinite(value)}
