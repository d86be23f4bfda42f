"""Verdicts, intervals and limits of detection found by running -> slide_coverage.json.

    python -m benchmarks.slides.laboratory_scores --data DATA -o RUN
    python -m benchmarks.slides.slide_coverage RUN [--slides 40]

Slides are resampled from real cells outside the fit: healthy cells of one slide of a laboratory's
report third (the laboratory itself left out of the error record), parasites of one NIH test
patient. Slides of fewer than 1,000 cells are joined: a single call among 300 cells, drawn again and
again, would make a rate of chance.
Judged without a site profile, and with one that is fitted to the laboratory's other pictures
(groups of pictures where slides are unknown). Readers are simulated: perfect, or confirming 95 of
100 flagged parasites and 1 of 1,000 (careful), or of 100 (hasty), other flagged cells. Reported:
how often 95 % intervals hold the truth, slides without parasites called parasites-detected, the
lowest parasitemia at which 95 of 100 slides are called, and each malaria-free set taken whole as
one slide.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.slides.laboratory_scores import MALARIA_FREE, read_scores
from benchmarks.slides.simulated_slides import READERS, Drawn, Points, Reader, draw, usable
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.metrics import clopper_pearson_interval
from edge_malaria.runtime.screen.screening import bundle_errors
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.counts import SlideCount, VerdictRules
from edge_malaria.runtime.slide.error_record import ErrorRecord, SlideErrors, SlideScores
from edge_malaria.runtime.slide.readers import confirmations_needed
from edge_malaria.runtime.slide.site_profile import SiteFit, SiteProfile
from edge_malaria.runtime.slide.statistics import SlideStatistics
from tools.fit_error_model import part_of, patients_of, slides_of

SEED = 11
CELLS = (1000, 5000)
PARASITEMIAS = (0.0, 0.002, 0.01, 0.05, 0.15)
LABORATORIES = ("nih", "bccd", "chula_more", "cheap_rig", "pbc", "raabin")
SITES = ("bccd", "chula_more", "cheap_rig", "pbc")
SITE_SLIDES, SITE_CELLS = 20, 2000
LIMIT_SLIDES = 1000
LEAST_CELLS = 1000
LIMIT_GRID = np.geomspace(1e-4, 1.0, 81)


@dataclass
class Tally:
    """Coverage and verdicts of one mode."""

    slides: int = 0
    covered: int = 0
    shown: int = 0
    shown_covered: int = 0
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    errors: list[float] = field(default_factory=list)

    def add(
        self, key: str, verdict: str, truth: float, found: tuple[float | None, tuple[float, float]],
        known: bool,
    ) -> None:  # fmt: skip
        """Adds one slide; ``known``: its number is shown."""
        share, (low, high) = found
        inside = low <= truth <= high
        self.slides += 1
        self.covered += inside
        self.shown += known
        self.shown_covered += known and inside
        self.verdicts.setdefault(key, Counter())[verdict] += 1
        if known and truth > 0 and share is not None:
            self.errors.append(abs(share - truth) / truth)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        calm = sum((c for k, c in self.verdicts.items() if k.startswith("0 ")), Counter[str]())
        return {
            "coverage": self.covered / max(self.slides, 1),
            "shown": self.shown,
            "coverage_shown": self.shown_covered / self.shown if self.shown else None,
            "median_relative_error_shown": float(np.median(self.errors)) if self.errors else None,
            "false_alarms": share_record(calm["parasites-detected"], sum(calm.values())),
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
    known: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, errors: SlideErrors, points: Points) -> Judge:
        """A judge."""
        return cls(SlideStatistics(errors), points)

    def alone(self, count: SlideCount) -> tuple[str, Any, bool]:
        """(verdict, (share, interval), whether it is shown) by the program alone."""
        if count not in self.known:
            s = self.statistics
            found = s.measured(count)
            verdict = s.verdict(count).verdict
            assert found is not None
            shown = verdict != "indeterminate" and not found.disagree
            self.known[count] = verdict, (found.parasitemia, found.ci95), shown
        answer: tuple[str, Any, bool] = self.known[count]
        return answer

    def reviewed(self, drawn: Drawn, place: int, confirmed: int) -> tuple[str, Any, bool]:
        """The same where a reader confirmed so many."""
        s, count = self.statistics, drawn.count(place)
        review = drawn.review(place, confirmed)
        key = ("read", drawn.cells, confirmed)
        if key not in self.known:
            self.known[key] = s.reader.measured(count.cells, confirmed, 0)
        verdict = s.finding(count, review).verdict
        shown = verdict != "indeterminate" and not s.unfamiliar(count)
        return verdict, self.known[key], shown

    def limits(
        self, rng: np.random.Generator, healthy: list[Floats], sick: list[Floats]
    ) -> dict[str, Any]:
        """The lowest parasitemia at which 95 of 100 slides are called, found by running."""
        table: dict[str, Any] = {}
        for cells in CELLS:
            needed = self.statistics.count_needed(cells)

            def alone(drawn: Drawn, needed: int | None = needed) -> Floats:
                if needed is None:
                    return np.zeros(len(drawn.truth))
                # As ``SlideStatistics.unfamiliar``.
                errors, rules = self.statistics.errors, self.statistics.rules
                base = max(rules.doubtful_base, errors.doubtful_base or 0.0)
                familiar = (
                    drawn.doubtful <= base * drawn.cells + rules.max_doubtful * drawn.positive
                )
                return np.asarray((drawn.positive >= needed) & familiar, float)

            def lowest(called: Callable[[Drawn], Floats], n: int = cells) -> float | None:
                low, high = 0, len(LIMIT_GRID)
                while high > low:
                    middle = (low + high) // 2
                    p = float(LIMIT_GRID[middle])
                    drawn = draw(rng, LIMIT_SLIDES, n, p, healthy, sick, self.points)
                    found = called(drawn).mean() >= 0.95
                    low, high = (low, middle) if found else (middle + 1, high)
                return float(LIMIT_GRID[low]) if low < len(LIMIT_GRID) else None

            row: dict[str, Any] = {
                "alone": lowest(alone),
                "stated_alone": self.statistics.limit_of_detection(cells),
                "stated_reviewed": self.statistics.limit_reviewed(cells),
            }
            for reader in READERS[:2]:
                row[f"reader {reader.name}"] = lowest(partial(_read, reader=reader, rng=rng))
            row["two careful readers, one cell"] = lowest(lambda d: _read_twice(d, rng))
            table[str(cells)] = row
        return table


@cache
def _needed(flagged: int, least: int) -> int:
    return confirmations_needed(flagged, least)


def _read(drawn: Drawn, reader: Reader, rng: np.random.Generator) -> Floats:
    """Whether one reader's confirmed cells mean parasites."""
    least = VerdictRules().confirm_cells
    flagged, place = np.unique(drawn.flagged, return_inverse=True)
    needed = np.array([_needed(int(f), least) for f in flagged])[place]
    return np.asarray(drawn.confirmed(reader, rng) >= needed, float)


def _read_twice(drawn: Drawn, rng: np.random.Generator) -> Floats:
    """Whether two readers confirm one and the same cell, each with 0.95."""
    both = rng.binomial(drawn.flagged_parasites, 0.95**2)
    return np.asarray(both >= 1, float)


def measure(
    rng: np.random.Generator, judge: Judge, healthy: list[Floats], sick: list[Floats], slides: int
) -> dict[str, Tally]:
    """Tallies of the program alone and of each reader."""
    tallies = {name: Tally() for name in ("alone", *(r.name for r in READERS))}
    for cells in CELLS:
        for p in PARASITEMIAS:
            drawn = draw(rng, slides, cells, p, healthy, sick, judge.points)
            key = f"{p:g} / {cells} cells"
            confirmed = {r.name: drawn.confirmed(r, rng) for r in READERS}
            for place in range(slides):
                truth = p
                tallies["alone"].add(key, *_row(judge.alone(drawn.count(place)), truth))
                for reader in READERS:
                    k = int(confirmed[reader.name][place])
                    tallies[reader.name].add(key, *_row(judge.reviewed(drawn, place, k), truth))
    return tallies


def _row(answer: tuple[str, Any, bool], truth: float) -> tuple[str, float, Any, bool]:
    return answer[0], truth, answer[1], answer[2]


def _merged(parts: list[Tally]) -> Tally:
    whole = Tally()
    for part in parts:
        whole.slides += part.slides
        whole.covered += part.covered
        whole.shown += part.shown
        whole.shown_covered += part.shown_covered
        whole.errors += part.errors
        for key, counts in part.verdicts.items():
            whole.verdicts.setdefault(key, Counter()).update(counts)
    return whole


def joined(slides: Mapping[str, Floats]) -> list[Floats]:
    """Slides with at least ``LEAST_CELLS``: small ones in a row are joined."""
    found: list[Floats] = []
    for p in slides.values():
        if found and len(found[-1]) < LEAST_CELLS:
            found[-1] = np.concatenate([found[-1], p])
        else:
            found.append(p)
    if len(found) > 1 and len(found[-1]) < LEAST_CELLS:
        last = found.pop()
        found[-1] = np.concatenate([found[-1], last])
    return found


def without(record: ErrorRecord, laboratory: str) -> ErrorRecord:
    """The record without a laboratory."""
    kept = tuple(lab for lab in record.healthy if lab.name != laboratory)
    return ErrorRecord(record.rungs, kept, record.parasitized, record.how)


def site_of(
    rng: np.random.Generator, record: ErrorRecord, groups: Mapping[str, Floats], name: str
) -> SiteProfile:
    """A site's profile from groups of its pictures: 20 slides, up to 2,000 cells each."""
    slides = [
        SlideScores.count(
            group, rng.choice(p, min(len(p), SITE_CELLS), replace=False), record.rungs
        )
        for group, p in list(groups.items())[:SITE_SLIDES]
    ]
    return SiteFit(record, slides).profile(name, "0" * 64, {})


def whole_sets(judge: Judge, run: Path) -> dict[str, Any]:
    """Each malaria-free set taken whole as one slide."""
    table = {}
    for source in MALARIA_FREE:
        p, points = read_scores(run, source).chances, judge.points
        positive = int((p >= points.screening).sum())
        doubtful = int(((p >= points.doubtful) & (p < points.screening)).sum())
        count = SlideCount(len(p), positive, doubtful, int((p >= points.balanced).sum()))
        result = judge.statistics.result(count)
        table[source] = {
            "cells": count.cells,
            "called": positive,
            "flagged": count.likely,
            "verdict": result.verdict,
            "cause": result.cause,
            "parasitemia": result.parasitemia,
            "ci95": None if result.ci95 is None else list(result.ci95),
        }
    return table


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="where laboratory_scores wrote")
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--slides", type=int, default=40, help="of each kind")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    record = bundle_errors(bundle)
    spec = bundle.classifier
    points = Points(spec.threshold("screening"), spec.threshold("balanced"))
    sick = usable(patients_of(read_scores(options.run, "test"))[1])
    rng = np.random.default_rng(SEED)
    tallies: dict[str, list[Tally]] = {}
    limits: dict[str, Any] = {}
    sites: dict[str, Any] = {}
    false_alarms: dict[str, Any] = {}
    for source in LABORATORIES:
        if source == "nih":
            healthy = joined(patients_of(read_scores(options.run, "test"))[0])
        else:
            scores = read_scores(options.run, source)
            healthy = joined(slides_of(source, part_of(source, scores, "report"), LEAST_CELLS))
        others = without(record, MALARIA_FREE.get(source, ""))
        judges = {"no site": Judge.of(others.errors(points.screening, points.balanced), points)}
        if source in SITES:
            fit = part_of(source, scores, "fit")
            least = min(SITE_CELLS, len(fit.chances) // SITE_SLIDES)
            site = site_of(rng, others, slides_of(source, fit, least), source)
            judges["site"] = Judge.of(site.errors, Points(site.screening, site.balanced))
            sites[source] = {
                "slides": site.negatives, "cells": site.cells, "screening": site.screening,
                "balanced": site.balanced, "passed": site.passed,
            }  # fmt: skip
        for mode, judge in judges.items():
            own: dict[str, Any] = {}
            for name, tally in measure(rng, judge, healthy, sick, options.slides).items():
                tallies.setdefault(f"{mode}, {name}", []).append(tally)
                own[name] = tally.as_json()["false_alarms"]["share"]
            false_alarms[f"{source}, {mode}"] = own
            limits[f"{source}, {mode}"] = judge.limits(rng, healthy, sick)
        print(source, "done", flush=True)
    home = Judge.of(record.errors(points.screening, points.balanced), points)
    figures: dict[str, Any] = {
        "classifier_sha256": shipped_sha256(options.bundle),
        "slides_of_each_kind": options.slides,
        "parasites_of_patients": len(sick),
        "modes": {name: _merged(parts).as_json() for name, parts in tallies.items()},
        "false_alarms": false_alarms,
        "sites": sites,
        "limits_by_running": limits,
        "malaria_free_sets": whole_sets(home, options.run),
    }
    for name, value in figures["modes"].items():
        print(name, {k: v for k, v in value.items() if k != "verdicts"})
    for key in ("false_alarms", "sites", "limits_by_running", "malaria_free_sets"):
        for name, value in figures[key].items():
            print(key, name, value)
    if not options.dry:
        command = f"python -m benchmarks.slides.slide_coverage RUN --slides {options.slides}"
        write_evidence("slide_coverage", command, figures, SEED)


if __name__ == "__main__":
    main()
