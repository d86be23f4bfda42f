"""Peak memory after 50 and after all fields -> docs/evidence/memory_fields.json.

    python -m benchmarks.speed.memory_fields [--fields 500]

One drawn field, rolled and relit so that every field is a new place, through the whole path with
the shipped bundle. Target: the peak after all fields is at most 5 % above that after field 50.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.records import Field
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.screening import ScreenCall, screen
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.synthetic import draw_field

AFTER = 50
LIMIT = 1.05


def peak_mib() -> float:
    """The most memory that this process ever held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Rolled:
    """As many fields as wanted out of a few drawn ones, each flipped or turned another way."""

    live = False

    def __init__(self, fields: int) -> None:
        self.total: int | None = fields
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        self.peaks: dict[int, float] = {}
        drawn = [draw_field(seed, 960, 720, cell_diameter_px=60)[0] for seed in range(6)]
        self._drawn = [turn for d in drawn for turn in (d, d[::-1], d[:, ::-1], d[::-1, ::-1])]

    def fields(self, skip: Container[str] = ()) -> Iterator[Field]:
        """The fields."""
        for index in range(self.total or 0):
            image = np.ascontiguousarray(self._drawn[index % len(self._drawn)])
            yield Field(image, f"field{index:05d}.png", index)
            if index + 1 in (AFTER, self.total):
                self.peaks[index + 1] = peak_mib()


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=500)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(shipped_bundle())
    source = Rolled(options.fields)
    with tempfile.TemporaryDirectory() as folder:
        call = ScreenCall(Path(folder) / "report", ("rolled",), 5e6)
        classifier = Classifier(bundle, operating_point="screening")
        done = screen(source, bundle, classifier, call, ScreenConfig(), ScreenOptions())
    report = done.report
    first, last = source.peaks[AFTER], source.peaks[options.fields]
    figures: dict[str, Any] = {
        "fields": options.fields,
        "fields_seen": report.fields_seen,
        "fields_rejected": dict(report.fields_rejected),
        "cells_counted": report.cells_counted,
        f"peak_mib_after_{AFTER}": round(first, 1),
        "peak_mib_after_all": round(last, 1),
        "peak_mib_with_report": round(peak_mib(), 1),
        "ratio": round(last / first, 4),
        "limit": LIMIT,
        "passed": last <= LIMIT * first,
    }
    print(figures)
    if not options.dry:
        write_evidence(
            "memory_fields",
            f"python -m benchmarks.speed.memory_fields --fields {options.fields}",
            figures,
            0,
        )


if __name__ == "__main__":
    main()
