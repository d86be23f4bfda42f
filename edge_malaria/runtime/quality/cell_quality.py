"""Judges a field by the cells found in it: focus, crowding, and whether they are single cells."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.light import absorbance, shrink, strongest
from edge_malaria.runtime.quality.explained import explained_share
from edge_malaria.runtime.quality.field_quality import (
    WORK_SIDE_PX,
    FieldQuality,
    QualityLimits,
    separation,
)
from edge_malaria.runtime.quality.rims import typical_rim

# Edges of cells below the first diameter in the work picture are too few pixels wide to tell sharp
# from soft; they are measured where cells have the second.
LEAST_FOCUS_PX = 24.0
FOCUS_PX = 30.0
# Fine detail is measured where cells are at most so large, in a window of this side.
DETAIL_PX = 60.0
DETAIL_WINDOW_PX = 200


def assess_cells(
    cells: Sequence[Cell],
    quality: FieldQuality,
    side_px: int,
    limits: QualityLimits | None = None,
    small: Image | None = None,
    image: Image | None = None,
) -> FieldQuality:
    """Whether what the finder found can be counted, and whether its edges are sharp.

    Focus is edge steepness x cell radius: 5-6 on sharp fields of every set at hand, whatever the
    magnification; a blur whose sigma is a tenth of a cell's diameter leaves 1.9.

    Args:
        cells: of the field.
        quality: what ``assess`` said of it: accepted, or for the finder to decide.
        side_px: the field's longer side.
        limits: by default those of quality.toml.
        small: the copy of the field that was assessed, or a larger one. Cells too small in the
            work picture for their edges to be measured are measured in it.
        image: the whole field; its fine detail and its cells' rims are measured where it is given.
    """
    limit = limits or QualityLimits()
    red = [cell for cell in cells if cell.kind == "red-cell"]
    counted = sum(cell.counted for cell in red)
    whole = [cell for cell in red if cell.reason != "border"]
    measures = {**quality.measures, "found": float(len(red)), "counted": float(counted)}
    if not whole:
        return FieldQuality(quality.reason or "no-cells", measures)
    areas = [np.count_nonzero(cell.mask) for cell in whole]
    diameter = float(np.median(np.sqrt(np.array(areas) * 4 / np.pi)))
    measures |= {"diameter_px": diameter}
    if quality.reason and not _vouched(whole, quality, measures, side_px, small, limit):
        return FieldQuality(quality.reason, measures)
    measures["focus"] = _focus(quality, diameter, side_px, small)
    if not (measures["focus"] >= limit.min_focus):
        return FieldQuality("out-of-focus", measures)
    if image is not None and not _sharp(image, whole, diameter, measures, limit):
        return FieldQuality("out-of-focus", measures)
    measures["explained_by_cells"] = explained_share(cells, quality.ground, side_px)
    if not (measures["explained_by_cells"] >= limit.min_explained):
        return FieldQuality("cells-missed", measures)
    if not (diameter >= limit.min_diameter_px):
        return FieldQuality("too-small", measures)
    if len(whole) >= 10 and not (counted >= limit.min_counted_share * len(whole)):
        return FieldQuality("too-dense", measures)
    return FieldQuality("" if counted >= limit.min_cells else "no-cells", measures)


def _focus(quality: FieldQuality, diameter_px: float, side_px: int, small: Image | None) -> float:
    """Edge steepness x cell radius, where cells are large enough for their edges to be seen."""
    shrunk = min(1.0, WORK_SIDE_PX / side_px)
    if small is None or not (diameter_px * shrunk < LEAST_FOCUS_PX):
        return quality.measures["steepness"] * diameter_px * shrunk / 2
    factor = min(1.0, FOCUS_PX / diameter_px) * side_px / max(small.shape[:2])
    finer = shrink(small, min(1.0, factor))
    sharp, _ = separation(strongest(absorbance(finer)))
    return float(sharp.steepness * diameter_px * max(finer.shape[:2]) / side_px / 2)


def _sharp(
    image: Image,
    whole: Sequence[Cell],
    diameter_px: float,
    measures: dict[str, float],
    limit: QualityLimits,
) -> bool:
    """Whether a field with steep edges is in focus. Adds its measures to ``measures``."""
    measures["detail"] = _detail(image, whole, diameter_px)
    if not (measures["detail"] >= limit.min_detail):
        return False
    rim = typical_rim(image, whole)
    if rim is None:
        return True
    measures |= {"rim": rim.ratio, "rim_depth": rim.depth}
    return rim.ratio <= limit.max_rim or rim.depth <= limit.faint_rim


def _detail(image: Image, whole: Sequence[Cell], diameter_px: float) -> float:
    """How much of the cells' contrast is finer than a sixtieth of their diameter.

    A blur of one to two hundredths of a cell's diameter leaves every edge in place, but takes away
    what rings are told by. It is looked at in a window around the cell nearest to the middle.
    """
    height, width = image.shape[:2]
    centres = np.array([[c.box[0] + c.box[2], c.box[1] + c.box[3]] for c in whole]) / 2
    x, y = centres[np.argmin(np.abs(centres - (width / 2, height / 2)).sum(axis=1))]
    factor = min(1.0, DETAIL_PX / diameter_px)
    half = DETAIL_WINDOW_PX / factor / 2
    left = int(np.clip(x - half, 0, max(0, width - 2 * half)))
    top = int(np.clip(y - half, 0, max(0, height - 2 * half)))
    window = image[top : top + int(2 * half), left : left + int(2 * half)]
    seen = shrink(np.ascontiguousarray(window), factor)
    taken = strongest(absorbance(seen))
    found, mask = separation(taken)
    if not mask.any():
        return 0.0
    fine = taken - cv2.GaussianBlur(taken, (0, 0), 1.0)
    return float(np.std(fine[mask])) / max(found.contrast, 1e-3)


def _vouched(
    whole: Sequence[Cell],
    quality: FieldQuality,
    measures: dict[str, float],
    side_px: int,
    small: Image | None,
    limit: QualityLimits,
) -> bool:
    """Whether the finder's cells show single red cells where the light alone does not.

    Refracting rims, haze and strong shading keep a thin film from separating into cells and empty
    slide, yet a person counts it. In a thick one the finder is hardly ever sure, and what it marks
    is empty for the most part. Adds its measures to ``measures``.
    """
    if not quality.finder_decides or small is None:
        return False
    side = max(small.shape[:2])
    work = shrink(small, min(1.0, WORK_SIDE_PX / side))
    _, ground = separation(strongest(absorbance(work)))
    marked = np.zeros(ground.shape, np.bool_)
    factor = max(ground.shape) / side_px
    for cell in whole:
        x0, y0, x1, y1 = (round(edge * factor) for edge in cell.box)
        size = (max(1, x1 - x0), max(1, y1 - y0))
        mask = cv2.resize(cell.mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        part = marked[y0 : y0 + size[1], x0 : x0 + size[0]]
        part |= mask[: part.shape[0], : part.shape[1]]
    both = float((marked & ground).sum())
    measures["sure"] = float(np.median([cell.score for cell in whole]))
    measures["cells_explain"] = both / max(float(ground.sum()), 1.0)
    measures["cells_filled"] = both / max(float(marked.sum()), 1.0)
    return bool(
        len(whole) >= limit.vouch_cells
        and measures["sure"] >= limit.vouch_score
        and measures["cells_explain"] >= limit.vouch_explained
        and measures["cells_filled"] >= limit.vouch_filled
    )
