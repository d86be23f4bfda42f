"""What a field costs on its way from the file to the journal, stage by stage, on this machine.

The real path runs: source, quality, finder, classifier, journal, with a clock around each. The
yardstick is decoding the field's own JPEG, which nobody can leave out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import ImageError
from edge_malaria.files import decode_image, encode_image
from edge_malaria.records import Cell, Field, Image, Prediction, expect
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.detect.opening import default_finder, finder_variant
from edge_malaria.runtime.screen.config import MotionSettings, ScreenConfig
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions, SlidePipeline
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine, Line
from edge_malaria.runtime.sources.base import Unreadable
from edge_malaria.runtime.sources.opening import open_source
from edge_malaria.synthetic import draw_field

STAGES = ("decode", "find", "classify", "journal", "rest")
REST = "registration, quality, cutting cells, pictures"
# As a microscope camera's own software writes it.
JPEG_QUALITY = 90
MOST_FIELDS = 12


@dataclass
class Clock:
    """Seconds spent in each stage, of one field after the other."""

    now: dict[str, float] = field(default_factory=dict)
    fields: list[dict[str, float]] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)

    def timed(self, stage: str, call: Callable[..., Any], *args: Any) -> Any:
        """Runs ``call`` and adds its wall time to ``stage`` of the current field."""
        start = time.perf_counter()
        try:
            return call(*args)
        finally:
            self.now[stage] = self.now.get(stage, 0.0) + time.perf_counter() - start


class _Finder:
    def __init__(self, finder: CellFinder, clock: Clock) -> None:
        self._finder, self._clock, self.name = finder, clock, finder.name

    def find(
        self, image: Image, small: Image | None = None, diameter_px: float | None = None
    ) -> list[Cell]:
        found: list[Cell] = self._clock.timed("find", self._finder.find, image, small, diameter_px)
        self._clock.cells.append(len(found))
        return found

    def find_at(self, image: Image, diameter_px: float, small: Image | None = None) -> list[Cell]:
        found: list[Cell] = self._clock.timed(
            "find", self._finder.find_at, image, diameter_px, small
        )
        self._clock.cells.append(len(found))
        return found


class _Classifier:
    def __init__(self, classifier: Classifier, clock: Clock) -> None:
        self._classifier, self._clock = classifier, clock
        self.input_size_px = classifier.input_size_px

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def predict_inputs(self, batch: Image) -> list[Prediction]:
        found: list[Prediction] = self._clock.timed(
            "classify", self._classifier.predict_inputs, batch
        )
        return found


class _Journal(Journal):
    def __init__(self, directory: Path, clock: Clock) -> None:
        self._clock = clock
        super().__init__(directory, HeaderLine(("benchmark",), ""))

    def append(self, line: Line) -> None:
        self._clock.timed("journal", super().append, line)


class _Jpegs:
    """The same few pictures again and again, decoded anew each time."""

    live = False

    def __init__(self, pictures: Sequence[bytes], count: int, clock: Clock) -> None:
        self.pictures, self._count, self._clock = list(pictures), count, clock
        self.total: int | None = count
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        for number in range(self._count):
            self._clock.now = {}
            start = time.perf_counter()
            data = self.pictures[number % len(self.pictures)]
            image = self._clock.timed("decode", decode_image, data)
            yield Field(image, f"{number:06d}.jpg", number)
            # Comes back when the pipeline asks for the next field: this one is through.
            whole = time.perf_counter() - start
            known = sum(self._clock.now.values())
            self._clock.fields.append({**self._clock.now, "rest": whole - known, "whole": whole})


@dataclass(frozen=True)
class FieldCost:
    """Medians over the fields of a run.

    Attributes:
        fields: how many were timed.
        megapixels, cells: of a field, on average.
        stage_ms: stage -> milliseconds; ``rest`` is what no other stage has.
        whole_ms: the whole path.
        times_decoding: the whole path against decoding alone.
    """

    fields: int
    megapixels: float
    cells: float
    stage_ms: dict[str, float]
    whole_ms: float
    times_decoding: float

    def as_json(self) -> dict[str, Any]:
        """The object in the command's JSON."""
        return {
            "fields": self.fields,
            "megapixels": self.megapixels,
            "cells": self.cells,
            "stage_ms": self.stage_ms,
            "whole_ms": self.whole_ms,
            "times_decoding": self.times_decoding,
            "fields_per_s": round(1e3 / self.whole_ms, 2),
            "cells_per_s": round(1e3 * self.cells / self.whole_ms, 1),
        }


def jpegs_of(source: str) -> list[bytes]:
    """The first fields of a source as JPEG files.

    Raises:
        ImageError: no field that can be read.
    """
    pictures: list[bytes] = []
    for item in open_source([source]).fields():
        if isinstance(item, Field):
            pictures.append(encode_image(item.image, ".jpg", JPEG_QUALITY))
        if len(pictures) >= MOST_FIELDS:
            break
    if not pictures:
        raise ImageError(f"{source} holds no field that can be read.")
    return pictures


def measure_fields(
    bundle: Bundle, pictures: Sequence[bytes], count: int, threads: int = 1
) -> tuple[FieldCost, Clock]:
    """Screens ``count`` fields made of ``pictures`` in turn.

    The quality gate and the search for places seen before do their work, but refuse nothing: the
    same picture comes again and again.

    Args:
        bundle: whose finder and classifier run.
        pictures: JPEG files.
        count: fields; the first is not counted into the medians (engines lay out their memory).
        threads: of the engines.
    """
    expect(count >= 2, "at least 2 fields", count)
    clock = Clock()
    classifier = Classifier(bundle, operating_point="screening", threads=threads)
    variant = finder_variant(bundle, classifier.variant, classifier.engine.name)
    finder = default_finder(bundle, variant, classifier.engine.name, threads)
    config = replace(ScreenConfig(), motion=MotionSettings(min_new_share=0.0))
    with tempfile.TemporaryDirectory() as folder:
        journal = _Journal(Path(folder), clock)
        try:
            pipeline = SlidePipeline(
                Path(folder),
                journal,
                _Finder(finder, clock),
                _Classifier(classifier, clock),
                config,
                ScreenOptions(quality_gate=False),
            )
            pipeline.run(_Jpegs(pictures, count, clock))
        finally:
            journal.close()
    return _cost(clock, pictures), clock


def _cost(clock: Clock, pictures: Sequence[bytes]) -> FieldCost:
    rows = clock.fields[1:]
    stages = {
        name: round(1e3 * float(np.median([row.get(name, 0.0) for row in rows])), 3)
        for name in STAGES
    }
    whole = round(1e3 * float(np.median([row["whole"] for row in rows])), 3)
    ratios = [row["whole"] / row["decode"] for row in rows]
    sizes = [decode_image(data).shape for data in pictures]
    return FieldCost(
        fields=len(rows),
        megapixels=round(float(np.mean([h * w for h, w, _ in sizes])) / 1e6, 3),
        cells=round(float(np.mean(clock.cells)), 1),
        stage_ms=stages,
        whole_ms=whole,
        times_decoding=round(float(np.median(ratios)), 2),
    )


@dataclass(frozen=True)
class Growth:
    """How time grows with one thing while the others stay.

    Attributes:
        what: ``fields``, ``cells`` or ``megapixels``.
        points: (how many, milliseconds).
        exponent: of the power law through the points (least squares over logarithms): 1 is linear.
    """

    what: str
    points: tuple[tuple[float, float], ...]
    exponent: float

    def as_json(self) -> dict[str, Any]:
        """The object in the command's JSON."""
        return {
            "what": self.what,
            "points": [list(point) for point in self.points],
            "exponent": self.exponent,
        }


def fitted(what: str, points: Sequence[tuple[float, float]]) -> Growth:
    """The power law through at least two points above zero."""
    expect(len(points) >= 2, "at least two points", len(points))
    x, y = np.log(np.array(points, np.float64)).T
    slope = float(np.polyfit(x, y, 1)[0])
    return Growth(what, tuple((float(a), round(float(b), 3)) for a, b in points), round(slope, 3))


def growth(bundle: Bundle, most_fields: int, threads: int = 1) -> list[Growth]:
    """Time against fields (of one slide), cells (of drawn fields) and megapixels.

    Cells grow by the density of drawn fields of one size; what a field costs without any cell is
    taken off, so that the exponent speaks of cells alone.
    """
    picture = _drawn(1280, 960, 0.35)
    _, clock = measure_fields(bundle, [picture], most_fields + 1, threads)
    whole = np.cumsum([row["whole"] for row in clock.fields[1:]]) * 1e3
    steps = sorted({int(n) for n in np.geomspace(10, most_fields, 7)} | {most_fields})
    fields = fitted("fields", [(n, float(whole[n - 1])) for n in steps if n <= len(whole)])
    empty = measure_fields(bundle, [_drawn(1280, 960, 0.0)], 9, threads)[0].whole_ms
    by_cells, by_size = [], []
    for density in (0.1, 0.2, 0.3, 0.4, 0.5):
        cost, _ = measure_fields(bundle, [_drawn(1280, 960, density)], 9, threads)
        by_cells.append((cost.cells, max(cost.whole_ms - empty, 1e-3)))
    for width in (640, 960, 1280, 1920, 2560):
        cost, _ = measure_fields(bundle, [_drawn(width, width * 3 // 4, 0.35)], 7, threads)
        by_size.append((cost.megapixels, cost.whole_ms))
    return [fields, fitted("cells", by_cells), fitted("megapixels", by_size)]


def _drawn(width_px: int, height_px: int, density: float) -> bytes:
    image, _ = draw_field(1, width_px, height_px, density=density)
    return encode_image(image, ".jpg", JPEG_QUALITY)
