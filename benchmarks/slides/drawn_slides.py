"""Drawn slides at five parasitemias, whole path -> docs/evidence/drawn_slides.json.

    python -m benchmarks.slides.drawn_slides [--seeds 20] [--fields 8] [--bundle BUNDLE]

For each parasitemia: how many slides got which verdict, whether the interval held the truth of the
very cells that were drawn, and the mean of the corrected parasitemia.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import ScreenCall, Screened, screen
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.sources.opening import open_source

PARASITEMIAS = (0.0, 0.0002, 0.001, 0.01, 0.05)


def screened_into(bundle: Bundle, spec: str, directory: Path) -> Screened:
    """One drawn slide, screened into ``directory``."""
    call = ScreenCall(directory, (spec,), 5e6)
    classifier = Classifier(bundle, operating_point="screening")
    return screen(open_source([spec]), bundle, classifier, call, load_config(), ScreenOptions())


def screened(bundle: Bundle, spec: str) -> Screened:
    """One drawn slide, screened into a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return screened_into(bundle, spec, Path(folder) / "report")


def row(bundle: Bundle, parasitemia: float, seeds: int, fields: int) -> dict[str, Any]:
    """The table's row of one parasitemia."""
    verdicts: Counter[str] = Counter()
    shares, called, covered, cells, refused = [], [], 0, 0, 0
    for seed in range(seeds):
        report = screened(
            bundle, f"sim:parasitemia={parasitemia},fields={fields},seed={1000 + seed}"
        ).report
        verdicts[report.verdict] += 1
        cells += report.cells_counted
        refused += sum(report.fields_rejected.values())
        low, high = report.ci95 or (0.0, 1.0)
        covered += low <= parasitemia <= high
        if report.parasitemia is not None:
            shares.append(report.parasitemia)
        called.append(report.cells_positive / max(report.cells_counted, 1))
    return {
        "parasitemia": parasitemia,
        "slides": seeds,
        "cells_per_slide": cells / seeds,
        "fields_refused": refused,
        "verdicts": dict(verdicts),
        "interval_holds_truth": covered / seeds,
        "numbers_shown": len(shares),
        "mean_corrected": float(np.mean(shares)) if shares else None,
        "mean_called": float(np.mean(called)),
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(options.bundle)
    rows = []
    for parasitemia in PARASITEMIAS:
        rows.append(row(bundle, parasitemia, options.seeds, options.fields))
        print(rows[-1], flush=True)
    if not options.dry:
        given = f"--seeds {options.seeds} --fields {options.fields}"
        command = f"python -m benchmarks.slides.drawn_slides {given}"
        figures = {"classifier_sha256": shipped_sha256(options.bundle), "rows": rows}
        write_evidence("drawn_slides", command, figures, 1000)


if __name__ == "__main__":
    main()
