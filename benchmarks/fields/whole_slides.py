"""Screens pictures as one slide, in memory: the field path, the classifier and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_malaria.bundle.spec import Bundle
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.quality.field_quality import FieldQuality
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.field_judge import FieldJudge, view_of
from edge_malaria.runtime.screen.slide_errors import slide_errors
from edge_malaria.runtime.slide.statistics import SlideCount, SlideStatistics


@dataclass
class SlideSeen:
    """What one slide gave.

    Attributes:
        refused: fields by reason; "" counts the accepted ones.
        sizes: the median box of each counted field, px.
        cells, positive, likely, doubtful: of counted cells, as in ``SlideCount``.
    """

    refused: Counter[str] = field(default_factory=Counter)
    sizes: list[float] = field(default_factory=list)
    cells: int = 0
    positive: int = 0
    likely: int = 0
    doubtful: int = 0

    @property
    def counted_share(self) -> float:
        """Share of the fields that were counted."""
        return self.refused[""] / max(sum(self.refused.values()), 1)

    def widest_size_ratio(self) -> float:
        """The largest factor by which a counted field's median box is off the slide's."""
        middle = float(np.median(self.sizes)) if self.sizes else 1.0
        return max([max(size / middle, middle / size) for size in self.sizes], default=1.0)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "fields": sum(self.refused.values()),
            "counted": self.refused[""],
            "refused": {name: n for name, n in sorted(self.refused.items()) if name},
            "cells": self.cells,
            "called_screening": self.positive,
            "called_balanced": self.likely,
            "widest_size_ratio": round(self.widest_size_ratio(), 3),
        }


def judged_field(
    judge: FieldJudge, image: Image, *, refused_too: bool = False
) -> tuple[Image, list[Cell], FieldQuality]:
    """The field under even light, its cells, and its quality.

    Args:
        judge: of the slide.
        image: uint8 [H, W, 3] RGB.
        refused_too: look for cells where ``screen`` would not.
    """
    view = view_of(image)
    quality, shown = judge.quality(view), view.corrected()
    worth = judge.cells_decide(quality)
    if not (worth or refused_too):
        return shown, [], quality
    cells, judged = judge.cells(view, shown, quality)
    return shown, cells, judged if worth else quality


class SlideScreen:
    """Looks at slides with one bundle, as ``screen`` does.

    Args:
        bundle: with a finder.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.config = load_config()
        self.finder = default_finder(bundle)
        self.classifier = Classifier(bundle, operating_point="screening")
        self.balanced = bundle.classifier.threshold("balanced")
        self.statistics = SlideStatistics(slide_errors(bundle), self.config.verdict)

    def screened(
        self, images: Iterable[Image], seen: list[tuple[Image, list[Cell], str]] | None = None
    ) -> SlideSeen:
        """Screens ``images`` as one slide; ``seen`` takes each field, its cells and the reason."""
        slide, colour = SlideSeen(), SlideColour()
        judge = FieldJudge(self.finder, self.config.quality)
        for image in images:
            shown, cells, quality = judged_field(judge, image)
            slide.refused[quality.reason] += 1
            if seen is not None:
                seen.append((shown, cells, quality.reason))
            if not quality.accepted:
                continue
            own = [cell for cell in cells if cell.counted]
            judge.counted([cell.box for cell in own])
            slide.sizes.append(median_size(own))
            inputs = field_inputs(shown, own, self.classifier.target, colour)
            found = self.classifier.predict_inputs(inputs)
            low = self.config.doubtful_from(quality)
            slide.cells += len(found)
            slide.positive += sum(p.positive for p in found)
            slide.likely += sum(p.p_parasitized >= self.balanced for p in found)
            slide.doubtful += sum(not p.positive and p.p_parasitized >= low for p in found)
        return slide

    def verdict(self, slide: SlideSeen) -> str:
        """The verdict on what was counted."""
        count = SlideCount(slide.cells, slide.positive, slide.doubtful, slide.likely)
        return str(self.statistics.result(count).verdict)


def median_size(cells: list[Cell]) -> float:
    """The median of the roots of the boxes' areas, px; 0 of nothing."""
    sizes = [((c.box[2] - c.box[0]) * (c.box[3] - c.box[1])) ** 0.5 for c in cells]
    return float(np.median(sizes)) if sizes else 0.0
