"""What is known of a classifier's errors: scores of slides with known truth, by laboratory.

A bundle carries one ``ErrorRecord`` (``decision.error_model``); a site profile adds a laboratory
of its own. For each slide it holds how many of its cells reach each of some thresholds, so that
the errors at any of them follow, also at thresholds that a site chooses for itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from edge_malaria.records import expect
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.error_rates import FalsePositiveFit
from edge_malaria.runtime.slide.expected_errors import PointErrors, SlideErrors
from edge_malaria.runtime.slide.hierarchy import HierarchicalFit, LaboratoryCounts

# At which every record keeps counts, beside the bundle's own operating points.
THRESHOLDS = (
    0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.86, 0.9, 0.93, 0.95, 0.965, 0.975, 0.983, 0.988, 0.992,
    0.995, 0.997, 0.998, 0.999, 0.9994, 0.9997, 0.9999,
)  # fmt: skip
# Where no parasitized cell was measured: nine in ten called, as 20 cells would show it.
_ASSUMED_SENSITIVITY = LaboratoryCounts("assumed", ((2, 20),))


@dataclass(frozen=True)
class SlideScores:
    """The scores of one slide's cells of one class.

    Attributes:
        name: of the slide or patient.
        cells: how many.
        above: how many of them reach each of the record's thresholds, falling.
    """

    name: str
    cells: int
    above: tuple[int, ...]

    def __post_init__(self) -> None:
        falling = all(a >= b for a, b in zip(self.above, self.above[1:], strict=False))
        expect(falling and all(0 <= k <= self.cells for k in self.above), "falling counts", self)

    @classmethod
    def count(cls, name: str, chances: Floats, thresholds: Sequence[float]) -> SlideScores:
        """Counts probabilities, float64 [N]."""
        return cls(
            name, len(chances), tuple(int((chances >= threshold).sum()) for threshold in thresholds)
        )


@dataclass(frozen=True)
class LaboratoryScores:
    """Slides of one laboratory, all of cells of one class."""

    name: str
    slides: tuple[SlideScores, ...]

    def counts(self, place: int, *, missed: bool = False) -> LaboratoryCounts:
        """(called or missed, cells) of each slide at one threshold."""
        return LaboratoryCounts(
            self.name,
            tuple(
                (s.cells - s.above[place] if missed else s.above[place], s.cells)
                for s in self.slides
            ),
        )

    @property
    def cells(self) -> int:
        """Cells of all slides."""
        return sum(slide.cells for slide in self.slides)


@dataclass(frozen=True)
class ErrorRecord:
    """Scores of slides with known truth.

    Attributes:
        thresholds: at which counts are kept, rising.
        healthy: laboratories' cells without parasites.
        parasitized: laboratories' cells with parasites.
        how: where they come from.
    """

    thresholds: tuple[float, ...]
    healthy: tuple[LaboratoryScores, ...]
    parasitized: tuple[LaboratoryScores, ...] = ()
    how: str = ""

    def __post_init__(self) -> None:
        expect(
            list(self.thresholds) == sorted(set(self.thresholds)),
            "rising thresholds",
            self.thresholds,
        )
        expect(bool(self.healthy), "at least one laboratory without malaria", 0)
        lengths = {len(s.above) for lab in (*self.healthy, *self.parasitized) for s in lab.slides}
        expect(lengths <= {len(self.thresholds)}, f"{len(self.thresholds)} counts a slide", lengths)

    def place(self, threshold: float) -> int:
        """The threshold's index.

        Raises:
            ValueError: the record keeps no counts at it.
        """
        index = bisect_left(self.thresholds, threshold - 1e-9)
        found = index < len(self.thresholds) and abs(self.thresholds[index] - threshold) < 1e-9
        expect(found, f"one of the thresholds {self.thresholds}", threshold)
        return index

    def false_calls(self, threshold: float) -> HierarchicalFit:
        """The fit of false calls at one of the thresholds."""
        place = self.place(threshold)
        return HierarchicalFit([lab.counts(place) for lab in self.healthy])

    def misses(self, threshold: float) -> HierarchicalFit:
        """The fit of missed parasitized cells at one of the thresholds."""
        place = self.place(threshold)
        known = [lab.counts(place, missed=True) for lab in self.parasitized if lab.cells]
        return HierarchicalFit(known or [_ASSUMED_SENSITIVITY])

    def point(self, threshold: float, without: str | None = None) -> PointErrors:
        """The errors on a slide of a laboratory that the record does not know.

        Args:
            threshold: one of the record's.
            without: leave out one laboratory (benchmarks judge it by the others).
        """
        return _point_errors(self, threshold, without)

    def errors(self, screening: float, balanced: float | None) -> SlideErrors:
        """What a slide of an unknown laboratory is judged by."""
        return SlideErrors(
            self.point(screening),
            None if balanced is None else self.point(balanced),
            len(self.healthy),
            sum(len(lab.slides) for lab in self.healthy),
            sum(lab.cells for lab in self.healthy),
            sum(lab.cells for lab in self.parasitized),
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` is the inverse."""
        return {
            "rungs": list(self.thresholds),
            **{key: [_laboratory_json(lab) for lab in getattr(self, key)] for key in _CLASSES},
            "how": self.how,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ErrorRecord:
        """The inverse of ``as_json``."""
        healthy, parasitized = (
            tuple(_laboratory(lab) for lab in value.get(key, ())) for key in _CLASSES
        )
        return cls(
            tuple(float(r) for r in value["rungs"]), healthy, parasitized, str(value.get("how", ""))
        )

    @classmethod
    def of_fit(cls, fit: FalsePositiveFit, screening: float) -> ErrorRecord:
        """The record of a bundle that knows one laboratory only, by its counts at its points."""
        points = [(screening, fit)]
        if fit.quantity is not None and fit.quantity_threshold is not None:
            points = [(fit.quantity_threshold, fit.quantity), *points]
        if len(points) == 2 and not (points[0][0] < points[1][0]):
            points = points[1:]
        healthy = [f.false_positives.counts or ((_pseudo(f)),) for _, f in points]
        hits = [
            tuple((n - k, n) for k, n in f.misses.counts) if f.misses else () for _, f in points
        ]
        return cls(
            tuple(threshold for threshold, _ in points),
            (_aligned("fit", healthy),),
            (_aligned("fit", hits),) if any(hits) else (),
            "one laboratory",
        )


_CLASSES = ("healthy", "parasitized")


def _pseudo(fit: FalsePositiveFit) -> tuple[int, int]:
    rates = fit.false_positives
    cells = max(rates.cells, 1)
    return round(rates.mean * cells), cells


def _aligned(name: str, counts: Sequence[Sequence[tuple[int, int]]]) -> LaboratoryScores:
    """Slides from their counts at each threshold; a slide without one of them is left out."""
    slides = []
    for index, same in enumerate(zip(*counts, strict=False)):
        if len({n for _, n in same}) == 1:
            above = [k for k, _ in same]
            # A higher threshold cannot call more: cross-fitted thresholds differ by slide.
            falling = tuple(min(above[: place + 1]) for place in range(len(above)))
            slides.append(SlideScores(f"{index}", same[0][1], falling))
    return LaboratoryScores(name, tuple(slides))


def _laboratory_json(lab: LaboratoryScores) -> dict[str, Any]:
    # A slide's counts in one string: one line of the file instead of 25.
    slides = [[s.name, s.cells, " ".join(str(k) for k in s.above)] for s in lab.slides]
    return {"name": lab.name, "slides": slides}


def _laboratory(value: Mapping[str, Any]) -> LaboratoryScores:
    slides = tuple(
        SlideScores(str(name), int(cells), tuple(int(k) for k in str(above).split()))
        for name, cells, above in value["slides"]
    )
    return LaboratoryScores(str(value["name"]), slides)


@lru_cache(maxsize=8)
def _point_errors(record: ErrorRecord, threshold: float, without: str | None) -> PointErrors:
    """``ErrorRecord.point``: a batch judges all its slides by the same two."""
    return PointErrors.of(
        record.false_calls(threshold).new_laboratory(without),
        record.misses(threshold).new_laboratory(),
    )
