"""Verdicts, intervals and limits of detection found by running -> slide_coverage.json.

    python -m benchmarks.slides.laboratory_scores --data DATA -o RUN
    python -m benchmarks.slides.slide_coverage RUN [--slides 10] [--jobs 1]

Slides are resampled from real cells outside the fit: healthy cells of one slide of a laboratory's
report third (the laboratory itself left out of the error record), parasites of one NIH test
patient, of iml's report third (iml's parasites left out of the record), of bbbc041 or of westlake.
Slides of fewer than 1,000 cells are joined: a single call among 300 cells, drawn again and again,
would make a rate of chance.
Judged without a site profile, and with one that is fitted to the laboratory's other pictures
(groups of pictures where slides are unknown). Readers are simulated: perfect, or confirming 95 of
100 flagged parasites and 1 of 1,000 (careful), or of 100 (hasty), other flagged cells. Reported:
how often 95 % intervals that a report would show hold the truth, slides without parasites called
parasites-detected, the lowest parasitemia at which 95 of 100 slides are called (NIH parasites, with
and without cells of doubtful labels), and each malaria-free set taken whole as one slide.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.slides.judged_slides import (
    Judge,
    Tally,
    false_alarms,
    measure,
    merged,
    share_record,
)
from benchmarks.slides.laboratory_scores import MALARIA, MALARIA_FREE, read_scores
from benchmarks.slides.limits_by_running import limits
from benchmarks.slides.simulated_slides import Points, usable
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.screen.slide_errors import bundle_errors
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.counts import SlideCount
from edge_malaria.runtime.slide.error_record import ErrorRecord, SlideScores
from edge_malaria.runtime.slide.site_fit import SiteFit
from edge_malaria.runtime.slide.site_profile import SiteProfile
from tools.fit_error_model import ASEXUAL, part_of, patients_of, slides_of

SEED = 11
LABORATORIES = ("nih", "bccd", "chula_more", "cheap_rig", "pbc", "raabin")
SITES = ("bccd", "chula_more", "cheap_rig", "pbc")
SITE_SLIDES, SITE_CELLS = 20, 2000
LEAST_CELLS = 1000


def parasites_of(run: Path) -> dict[str, list[Floats]]:
    """Where parasites come from -> their slides."""
    found = {"nih": usable(patients_of(read_scores(run, "test"))[1])}
    for source in MALARIA:
        scores = read_scores(run, source)
        if source == "iml":
            scores = part_of(source, scores, "report")
        found[source] = [scores.chances[np.isin(scores.labels, (*ASEXUAL, "parasitized"))]]
    return found


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


def without(record: ErrorRecord, healthy: str, parasitized: str) -> ErrorRecord:
    """The record without the laboratories of a slide's cells."""
    return ErrorRecord(
        record.thresholds,
        tuple(lab for lab in record.healthy if lab.name != healthy),
        tuple(lab for lab in record.parasitized if lab.name != parasitized),
        record.how,
    )


def site_of(
    rng: np.random.Generator, record: ErrorRecord, groups: Mapping[str, Floats], name: str
) -> SiteProfile:
    """A site's profile from groups of its pictures: 20 slides, up to 2,000 cells each."""
    slides = [
        SlideScores.count(
            group, rng.choice(p, min(len(p), SITE_CELLS), replace=False), record.thresholds
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
        borderline = int(((p >= points.borderline) & (p < points.screening)).sum())
        count = SlideCount(len(p), positive, borderline, int((p >= points.balanced).sum()))
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


@dataclass
class Findings:
    """What was measured so far."""

    tallies: dict[str, list[Tally]] = field(default_factory=dict)
    alarms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    sites: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Takes up those of another laboratory."""
        for name, parts in other.tallies.items():
            self.tallies.setdefault(name, []).extend(parts)
        self.alarms |= other.alarms
        self.limits |= other.limits
        self.sites |= other.sites

    def modes(self) -> dict[str, Any]:
        """By mode: coverage, verdicts and false alarms over all laboratories."""
        table = {name: merged(parts).as_json() for name, parts in self.tallies.items()}
        for name, row in table.items():
            mode, who = name.split(", ")
            called = [x for k, v in self.alarms.items() if k.endswith(mode) for x in v[who]]
            row["false_alarms"] = share_record(int(sum(called)), len(called))
        return table

    def alarm_shares(self) -> dict[str, dict[str, float]]:
        """By laboratory and mode: the share of slides without parasites that was called."""
        return {k: {w: float(np.mean(x)) for w, x in v.items()} for k, v in self.alarms.items()}


@dataclass(frozen=True, eq=False)
class Material:
    """What slides are drawn from, and what judges them."""

    run: Path
    record: ErrorRecord
    points: Points
    parasites: dict[str, list[Floats]]

    def healthy(self, source: str) -> list[Floats]:
        """Slides without parasites outside the fit."""
        scores = read_scores(self.run, "test" if source == "nih" else source)
        if source == "nih":
            return joined(patients_of(scores)[0])
        return joined(slides_of(source, part_of(source, scores, "report"), LEAST_CELLS))

    def judges(self, source: str, parasites: str) -> tuple[dict[str, Judge], SiteProfile | None]:
        """Judges without and with a profile of ``source`` that know neither of the two."""
        others = without(self.record, MALARIA_FREE.get(source, ""), parasites)
        points = self.points
        judges = {"no site": Judge.of(others.errors(points.screening, points.balanced), points)}
        if source not in SITES:
            return judges, None
        fit = part_of(source, read_scores(self.run, source), "fit")
        least = min(SITE_CELLS, len(fit.chances) // SITE_SLIDES)
        # Its own seed: the same site whatever parasites are drawn.
        rng = np.random.default_rng(SEED)
        site = site_of(rng, others, slides_of(source, fit, least), source)
        judges["site"] = Judge.of(site.errors, Points(site.screening, site.balanced))
        return judges, site


def of_laboratory(material: Material, source: str, slides: int) -> Findings:
    """Measures one laboratory with every source of parasites; its own seed."""
    found = Findings()
    rng = np.random.default_rng([SEED, LABORATORIES.index(source)])
    sure = usable(patients_of(read_scores(material.run, "test"), doubtful=False)[1])
    healthy = material.healthy(source)
    known: dict[bool, tuple[dict[str, Judge], SiteProfile | None]] = {}
    for name, sick in material.parasites.items():
        if (name == "iml") not in known:
            known[name == "iml"] = material.judges(source, "iml" if name == "iml" else "")
        judges, site = known[name == "iml"]
        for mode, judge in judges.items():
            for who, tally in measure(rng, judge, healthy, (name, sick), slides).items():
                found.tallies.setdefault(f"{mode}, {who}", []).append(tally)
            if name != "nih":
                continue
            key = f"{source}, {mode}"
            found.alarms[key] = false_alarms(rng, judge, healthy, sick)
            found.limits[key] = limits(rng, judge.statistics, judge.points, healthy, sick)
            if source == "nih":
                found.limits[f"{key}, no doubtful labels"] = limits(
                    rng, judge.statistics, judge.points, healthy, sure
                )
        if name == "nih" and site is not None:
            found.sites[source] = {
                "slides": site.negatives, "cells": site.cells, "screening": site.screening,
                "balanced": site.balanced, "passed": site.passed,
            }  # fmt: skip
    print(source, "done", flush=True)
    return found


def run_all(material: Material, slides: int, jobs: int) -> Findings:
    """Measures every laboratory, ``jobs`` at a time; the figures do not depend on how many."""
    whole = Findings()
    with ProcessPoolExecutor(jobs) as pool:
        work = [pool.submit(of_laboratory, material, source, slides) for source in LABORATORIES]
        for done in work:
            whole.add(done.result())
    return whole


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="where laboratory_scores wrote")
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--slides", type=int, default=10, help="of each kind")
    parser.add_argument("--jobs", type=int, default=1, help="laboratories at a time")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    record = bundle_errors(bundle)
    spec = bundle.classifier
    points = Points(spec.threshold("screening"), spec.threshold("balanced"))
    parasites = parasites_of(options.run)
    material = Material(options.run, record, points, parasites)
    found = run_all(material, options.slides, options.jobs)
    home = Judge.of(record.errors(points.screening, points.balanced), points)
    figures: dict[str, Any] = {
        "classifier_sha256": shipped_sha256(options.bundle),
        "slides_of_each_kind": options.slides,
        "parasites": {
            name: {"slides": len(slides), "cells": sum(map(len, slides))}
            for name, slides in parasites.items()
        },
        "modes": found.modes(),
        "false_alarms": found.alarm_shares(),
        "sites": found.sites,
        "limits_by_running": found.limits,
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
