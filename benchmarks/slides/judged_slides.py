"""How drawn slides are judged: verdicts, intervals that hold the truth, false alarms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.slides.limits_by_running import CELLS, called_alone, called_by
from benchmarks.slides.simulated_slides import READERS, Points, draw
from edge_malaria.metrics import clopper_pearson_interval
from edge_malaria.records import Interval
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.counts import ReviewCount, SlideCount
from edge_malaria.runtime.slide.expected_errors import SlideErrors
from edge_malaria.runtime.slide.statistics import SlideStatistics

Answer = tuple[str, tuple[float | None, Interval], bool]

PARASITEMIAS = (0.0, 0.002, 0.01, 0.05, 0.15)
# Slides without parasites, of which so few may be called: enough to tell 1 % from 2 %.
CALM_SLIDES = 2000


@dataclass(frozen=True)
class Kind:
    """What some drawn slides have in common.

    Attributes:
        parasites: where their parasites come from.
        cells: counted on each.
        parasitemia: drawn, 0-1.
    """

    parasites: str
    cells: int
    parasitemia: float


@dataclass
class Tally:
    """Coverage and verdicts of one mode."""

    slides: int = 0
    covered: int = 0
    shown: dict[str, list[bool]] = field(default_factory=dict)
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    errors: list[float] = field(default_factory=list)
    spans: list[float] = field(default_factory=list)

    def add(self, kind: Kind, answer: Answer) -> None:
        """Adds one slide."""
        verdict, (share, (low, high)), known = answer
        truth = kind.parasitemia
        inside = low <= truth <= high
        self.slides += 1
        self.covered += inside
        self.verdicts.setdefault(f"{truth:g} / {kind.cells} cells", Counter())[verdict] += 1
        if known:
            self.shown.setdefault(kind.parasites, []).append(inside)
            if truth > 0 and share is not None:
                self.errors.append(abs(share - truth) / truth)
                self.spans.append(high / truth)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        every = [inside for part in self.shown.values() for inside in part]
        return {
            "slides": self.slides,
            "shown": len(every),
            "coverage": float(np.mean(every)) if every else None,
            "coverage_by_parasites": {k: float(np.mean(v)) for k, v in self.shown.items()},
            "coverage_also_where_not_shown": self.covered / max(self.slides, 1),
            "median_relative_error": float(np.median(self.errors)) if self.errors else None,
            "median_upper_end_by_truth": float(np.median(self.spans)) if self.spans else None,
            "verdicts": {k: dict(v) for k, v in self.verdicts.items()},
        }


def share_record(hits: int, n: int) -> dict[str, Any]:
    """A share with its Clopper-Pearson interval."""
    interval = clopper_pearson_interval(hits, n)
    return {"share": hits / max(n, 1), "slides": n, "ci95": list(interval) if interval else None}


@dataclass(frozen=True, eq=False)
class Judge:
    """Statistics with their thresholds; judges drawn slides, each count once."""

    statistics: SlideStatistics
    points: Points
    known: dict[Any, Answer] = field(default_factory=dict)

    @classmethod
    def of(cls, errors: SlideErrors, points: Points) -> Judge:
        """A judge."""
        return cls(SlideStatistics(errors), points)

    def alone(self, count: SlideCount) -> Answer:
        """(verdict, (share, interval), whether it is shown) by the program alone."""
        if count not in self.known:
            found = self.statistics.measured(count)
            assert found is not None
            verdict = self.statistics.verdict(count).verdict
            shown = verdict != "indeterminate" and not found.disagree
            self.known[count] = verdict, (found.parasitemia, found.ci95), shown
        return self.known[count]

    def reviewed(self, count: SlideCount, review: ReviewCount) -> Answer:
        """The same where a reader looked at all flagged cells."""
        if not review.complete:
            return self.alone(count)
        key = (count, review)
        if key not in self.known:
            s = self.statistics
            found = s.finding(count, review)
            # More cells settle a slide on which one cell is confirmed: its number is shown.
            settled = found.verdict != "indeterminate" or found.cause == "one-confirmed"
            shown = settled and not s.unfamiliar(count)
            self.known[key] = found.verdict, s.reader.measured(count.cells, review), shown
        return self.known[key]


def measure(
    rng: np.random.Generator,
    judge: Judge,
    healthy: list[Floats],
    parasites: tuple[str, list[Floats]],
    slides: int,
) -> dict[str, Tally]:
    """Tallies of the program alone and of each reader."""
    name, sick = parasites
    tallies = {mode: Tally() for mode in ("alone", *(r.name for r in READERS))}
    for cells in CELLS:
        for p in PARASITEMIAS:
            kind = Kind(name, cells, p)
            drawn = draw(rng, slides, cells, p, healthy, sick, judge.points)
            read = {r.name: drawn.read(r, rng) for r in READERS}
            for place in range(slides):
                count = drawn.count(place)
                tallies["alone"].add(kind, judge.alone(count))
                for mode, (confirmed, positive) in read.items():
                    review = drawn.review(place, int(confirmed[place]), int(positive[place]))
                    tallies[mode].add(kind, judge.reviewed(count, review))
    return tallies


def false_alarms(
    rng: np.random.Generator, judge: Judge, healthy: list[Floats], sick: list[Floats]
) -> dict[str, list[float]]:
    """By mode: slides without parasites that were called (0 or 1 each)."""
    found: dict[str, list[float]] = {}
    for cells in CELLS:
        drawn = draw(rng, CALM_SLIDES, cells, 0.0, healthy, sick, judge.points)
        found.setdefault("alone", []).extend(called_alone(judge.statistics, drawn).tolist())
        for reader in READERS:
            found.setdefault(reader.name, []).extend(called_by(reader, rng, drawn).tolist())
    return found


def merged(parts: list[Tally]) -> Tally:
    """One tally of several."""
    whole = Tally()
    for part in parts:
        whole.slides += part.slides
        whole.covered += part.covered
        whole.errors += part.errors
        whole.spans += part.spans
        for name, inside in part.shown.items():
            whole.shown.setdefault(name, []).extend(inside)
        for key, counts in part.verdicts.items():
            whole.verdicts.setdefault(key, Counter()).update(counts)
    return whole
