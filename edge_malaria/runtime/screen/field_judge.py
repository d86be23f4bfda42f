"""What is done with a field before its cells are classified: light, quality, cells, scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.detect.flat_field import FieldCorrection, field_correction
from edge_malaria.runtime.detect.slide_scale import SlideScale
from edge_malaria.runtime.quality.cell_quality import assess_cells
from edge_malaria.runtime.quality.explained import explained_share
from edge_malaria.runtime.quality.field_quality import (
    FieldQuality,
    QualityLimits,
    assess,
    assess_light_path,
)
from edge_malaria.runtime.report.pictures import overview
from edge_malaria.runtime.slide.field_line import cells_diameter


@dataclass(frozen=True, eq=False)
class FieldView:
    """A field under even light.

    Attributes:
        original: uint8 [H, W, 3] RGB as it was taken.
        small: a small copy, corrected; registration, quality and pictures share it.
        correction: what ``image`` needs.
    """

    original: Image
    small: Image
    correction: FieldCorrection

    def corrected(self) -> Image:
        """The whole field, corrected; ``original`` itself where nothing is to be done."""
        return self.correction.apply(self.original)


def view_of(image: Image) -> FieldView:
    """A field, uint8 [H, W, 3] RGB, as it is looked at."""
    small = overview(image)
    correction = field_correction(small)
    return FieldView(image, correction.apply(small), correction)


class FieldJudge:
    """Judges fields and finds their cells, at one scale for the slide.

    Args:
        finder: finds the cells.
        limits: of quality.
        gate: whether fields are refused by quality.
    """

    def __init__(self, finder: CellFinder, limits: QualityLimits, *, gate: bool = True) -> None:
        self.finder, self.limits, self.gate = finder, limits, gate
        self.scale = SlideScale()

    def quality(self, view: FieldView) -> FieldQuality:
        """Whether cells are worth looking for."""
        light_path = assess_light_path(view.correction, self.limits)
        if not light_path.accepted:
            return light_path
        quality = assess(view.small, self.limits)
        return replace(quality, measures={**light_path.measures, **quality.measures})

    def cells_decide(self, quality: FieldQuality) -> bool:
        """Whether a field's cells decide, or its quality has already."""
        return quality.accepted or quality.finder_decides or not self.gate

    def cells(
        self, view: FieldView, image: Image, quality: FieldQuality
    ) -> tuple[list[Cell], FieldQuality]:
        """The cells of a field that is worth looking at, and its quality by them.

        Args:
            view: the field.
            image: ``view.corrected()``.
            quality: what ``quality`` said.
        """
        contrast = quality.measures.get("contrast", 0.0)
        shown = view.correction.stretched(image, contrast)
        small = view.correction.stretched(view.small, contrast)
        side = max(image.shape[:2])
        cells, holds = self.scale.find(
            self.finder, shown, small, lambda found: explained_share(found, quality.ground, side)
        )
        cells = view.correction.without_cut_cells(cells, image.shape)
        if not self.gate:
            return cells, quality
        judged = assess_cells(cells, quality, side, self.limits, view.small, image)
        if judged.accepted and not holds:
            judged = FieldQuality("scale", judged.measures)
        return cells, judged

    def counted(self, boxes: Sequence[tuple[int, int, int, int]]) -> None:
        """Takes up the counted boxes of a field: they say how large cells are on this slide."""
        self.scale.note(cells_diameter(boxes))
