"""Verdicts and intervals on slides made of real cells -> docs/evidence/slide_coverage.json.

    python -m benchmarks.slides.slide_coverage --data DATA [--bundle BUNDLE] [--run CROSSVAL_RUN]

Cells come from patients that the network behind each score had not seen: the five-fold
cross-validation's predictions (--run), else the val and test patients of the bundle's network. Each
slide takes its cells, with replacement, from one healthy and one infected patient, so that both
keep their own error rates; the fit that judges it leaves out both patients. Reported: how often the
95 % interval holds the true parasitemia, how many slides without parasites are called
parasites-detected, the same at twice the healthy patients' rates, and on cells of bccd, a set
without malaria from another laboratory.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.fields.cell_truth import files_of
from edge_malaria.bundle.format import Bundle, read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.files import read_image
from edge_malaria.metrics import clopper_pearson_interval
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.slide.statistics import (
    FalsePositiveFit,
    Measured,
    SlideCount,
    SlideStatistics,
    VerdictRules,
    choose_screening_threshold,
    fit_false_positives,
)
from edge_malaria.training.classifier.calibrate import SCREENING_FALSE_POSITIVES

SEED = 11
CELLS = (1000, 5000)
PARASITEMIAS = (0.0005, 0.002, 0.01, 0.05, 0.15)
REPEATS = 4
# An infected patient lends slides an own sensitivity only from so many parasitized cells on: of one
# or three cells it would be 0 or 1 by chance. All of them stay in the fit.
LEAST_PARASITIZED = 20
Scores = dict[str, NDArray[np.float64]]


def bundle_scores(
    bundle: Bundle, data: Path, splits: Sequence[str] = ("val", "test")
) -> tuple[Scores, Scores]:
    """(healthy, infected): probabilities of the cells of each patient of ``splits``."""
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    classifier = Classifier(bundle, operating_point="screening")
    tables = SlideTables(dataset, classifier.target)
    grouped: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in dataset.rows:
        if row.split in splits and row.patient_id:
            grouped[row.patient_id, row.label].append(row)
    healthy: Scores = {}
    infected: Scores = {}
    for (patient, label), rows in grouped.items():
        batch = np.stack([tables.input(row) for row in rows])
        p = np.array([q.p_parasitized for q in classifier.predict_inputs(batch)])
        if patient.startswith("H"):
            healthy[patient] = p
        elif label == 1:
            infected[patient] = p
    return healthy, infected


def crossval_scores(run: Path, data: Path, splits: set[str]) -> tuple[Scores, Scores]:
    """(healthy, infected) from a cross-validation's stored predictions over ``splits``."""
    from edge_malaria.crossval.results import read_result
    from edge_malaria.runtime.classify.classifier import probability

    every = open_dataset(data / "nih" / "cell_images.zip").rows
    rows = [row for row in every if row.split in splits]
    healthy: dict[str, list[float]] = defaultdict(list)
    infected: dict[str, list[float]] = defaultdict(list)
    for stored in sorted(run.glob("**/predictions.npz")):
        result = read_result(stored)
        chances = probability(result.logits, result.temperature, result.bias)
        for place, p in zip(result.held_out, chances, strict=True):
            row = rows[int(place)]
            if row.patient_id and row.patient_id.startswith("H"):
                healthy[row.patient_id].append(float(p))
            elif row.patient_id and row.label == 1:
                infected[row.patient_id].append(float(p))
    return (
        {k: np.array(v) for k, v in healthy.items()},
        {k: np.array(v) for k, v in infected.items()},
    )


Points = tuple[float, float, float]


def split_of(p: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    """Shares of cells: positive, likely but not positive, doubtful but not likely, clear."""
    edges = np.sort(np.asarray(points))[::-1]
    above = np.array([float((p >= edge).mean()) for edge in edges])
    return np.maximum(np.diff(np.concatenate([[0.0], above, [1.0]])), 0.0)


def count_of(drawn: NDArray[np.int64]) -> SlideCount:
    """What the statistics need of the counts of the four shares."""
    return SlideCount(
        int(drawn.sum()), int(drawn[0]), int(drawn[1] + drawn[2]), int(drawn[0] + drawn[1])
    )


class LeaveOut:
    """Statistics whose fit leaves out some patients; the threshold is chosen without them too."""

    def __init__(
        self, healthy: Scores, infected: Scores, threshold: float | None, balanced: float
    ) -> None:
        self.healthy, self.infected, self.fixed = healthy, infected, threshold
        self.balanced = balanced

    def without(self, out: set[str]) -> tuple[SlideStatistics, Points]:
        """(statistics, thresholds) from everybody but ``out``."""
        kept = {k: v for k, v in self.healthy.items() if k not in out}
        threshold = self.fixed
        if threshold is None:
            pooled = np.concatenate(list(kept.values()))
            names = [k for k, v in kept.items() for _ in v]
            threshold = choose_screening_threshold(pooled, names, SCREENING_FALSE_POSITIVES)
        sick = {k: v for k, v in self.infected.items() if k not in out}

        def fit(at: float) -> FalsePositiveFit:
            return fit_false_positives(
                [(int((v >= at).sum()), len(v)) for v in kept.values()],
                [(int((v >= at).sum()), len(v)) for v in sick.values()],
            )

        likely = min(self.balanced, threshold)
        whole = replace(fit(threshold), quantity=fit(likely), quantity_threshold=likely)
        return SlideStatistics(whole), (threshold, likely, VerdictRules().doubtful_from)


def share_record(hits: int, n: int, patients: int) -> dict[str, Any]:
    """A share with its Clopper-Pearson interval over slides."""
    interval = clopper_pearson_interval(hits, n)
    return {
        "share": hits / max(n, 1),
        "slides": n,
        "ci95_slides": list(interval) if interval else None,
        "patients": patients,
    }


def measure(
    healthy: Scores, infected: Scores, threshold: float | None, balanced: float
) -> dict[str, Any]:
    """Every table for slides of NIH patients."""
    rng = np.random.default_rng(SEED)
    leave = LeaveOut(healthy, infected, threshold, balanced)
    sick = sorted(name for name, p in infected.items() if len(p) >= LEAST_PARASITIZED)
    covered: Counter[str] = Counter()
    total: Counter[str] = Counter()
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    patients: dict[str, set[str]] = defaultdict(set)
    errors: dict[str, list[float]] = defaultdict(list)
    points: dict[str, Counter[str]] = defaultdict(Counter)
    for number, name in enumerate(sorted(healthy)):
        ill = sick[number % len(sick)]
        stats, cuts = leave.without({name, ill})
        calm, wild = split_of(healthy[name], cuts), split_of(infected[ill], cuts)
        double = 2 * calm
        double[3] = max(0.0, 1 - double[:3].sum())
        results: dict[SlideCount, tuple[str, Measured]] = {}
        for cells in CELLS:
            for _ in range(REPEATS):
                cases = [("0", 0.0, calm), ("0 at twice the rate", 0.0, double / double.sum())]
                cases += [(f"{p:g}", p, calm) for p in PARASITEMIAS]
                for key, truth, base in cases:
                    parasites = int(rng.binomial(cells, truth)) if truth else 0
                    drawn = rng.multinomial(cells - parasites, base) + rng.multinomial(
                        parasites, wild
                    )
                    count = count_of(drawn)
                    if count not in results:
                        found = stats.measured(count) or Measured(None, (0.0, 1.0), "screening")
                        results[count] = (stats.verdict(count)[0], found)
                    verdict, found = results[count]
                    label = f"{key} / {cells} cells"
                    verdicts[label][verdict] += 1
                    total[key] += 1
                    covered[key] += found.ci95[0] <= truth <= found.ci95[1]
                    points[key][found.at + (", disagree" if found.disagree else "")] += 1
                    if truth:
                        errors[key].append(abs((found.parasitemia or 0.0) - truth) / truth)
                    if verdict == "parasites-detected":
                        patients[label].add(name)
    false = {
        label: {
            **share_record(c["parasites-detected"], sum(c.values()), len(healthy)),
            "patients_with_any": len(patients[label]),
            "ci95_patients": list(
                clopper_pearson_interval(len(patients[label]), len(healthy)) or (0, 1)
            ),
        }
        for label, c in verdicts.items()
        if label.startswith("0 ")
    }
    real = [key for key in total if "twice" not in key]
    return {
        "coverage": {k: covered[k] / total[k] for k in total},
        "coverage_pooled": sum(covered[k] for k in real) / sum(total[k] for k in real),
        "median_relative_error": {k: float(np.median(v)) for k, v in errors.items()},
        "measured_at": {k: dict(v) for k, v in points.items()},
        "verdicts": {k: dict(v) for k, v in verdicts.items()},
        "false_alarms": false,
    }


def bccd_slides(bundle: Bundle, data: Path) -> dict[str, Any]:
    """Slides resampled from cells of bccd, under the bundle's own fit and threshold."""
    from edge_malaria.runtime.screen.screening import bundle_fit

    rng = np.random.default_rng(SEED)
    finder, classifier = default_finder(bundle), Classifier(bundle, operating_point="screening")
    scores: list[float] = []
    slide = SlideColour()
    for file in files_of(data / "fields" / "bccd", "report"):
        image = read_image(file)
        cells = [c for c in finder.find(image) if c.counted]
        found = classifier.predict_inputs(field_inputs(image, cells, classifier.target, slide))
        scores += [p.p_parasitized for p in found]
    stats = SlideStatistics(bundle_fit(bundle, "screening"))
    balanced = bundle.classifier.threshold("balanced")
    points = (classifier.threshold, balanced, stats.rules.doubtful_from)
    shares = split_of(np.array(scores), points)
    verdicts: Counter[str] = Counter()
    for _ in range(200):
        drawn = rng.multinomial(1000, shares)
        verdicts[stats.verdict(count_of(drawn))[0]] += 1
    return {
        "cells": len(scores),
        "share_called": float(shares[0]),
        "share_doubtful": float(shares[1] + shares[2]),
        "verdicts": dict(verdicts),
        **share_record(verdicts["parasites-detected"], 200, 0),
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--run", type=Path, help="a cross-validation's run directory")
    parser.add_argument("--run-splits", default="train,val,test", help="what the run covered")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(options.bundle)
    if options.run:
        splits = set(options.run_splits.split(","))
        healthy, infected = crossval_scores(options.run, options.data, splits)
        threshold, whose = (
            None,
            f"cross-fitted over {options.run_splits}: networks that had not seen the patient",
        )
    else:
        healthy, infected = bundle_scores(bundle, options.data)
        threshold, whose = bundle.classifier.threshold("screening"), "val and test patients"
    figures: dict[str, Any] = {
        "classifier_sha256": shipped_sha256(options.bundle),
        "cells_of": whose,
        "healthy_patients": len(healthy),
        "healthy_cells": sum(len(v) for v in healthy.values()),
        "infected_patients": len(infected),
        "infected_patients_that_lend_slides": sum(
            len(p) >= LEAST_PARASITIZED for p in infected.values()
        ),
        "rules": vars(VerdictRules()),
        "targets": {"coverage": [0.93, 0.97], "negative_slides_called_detected": 0.02},
        **measure(healthy, infected, threshold, bundle.classifier.threshold("balanced")),
        "bccd": bccd_slides(bundle, options.data),
    }
    if not options.dry:
        command = "python -m benchmarks.slides.slide_coverage --data DATA"
        write_evidence(
            "slide_coverage",
            command + (f" --run RUN --run-splits {options.run_splits}" if options.run else ""),
            figures,
            SEED,
        )
    for key, value in figures.items():
        print(key, value)


if __name__ == "__main__":
    main()
