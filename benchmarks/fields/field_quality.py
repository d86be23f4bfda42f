"""Which real fields are accepted, and why others are not -> docs/evidence/field_quality.json.

    python -m benchmarks.fields.field_quality --data DATA [--part report|fit]

Every third file name is the report third; the limits of quality.toml were chosen on the others. All
twelve thick smears are looked at in either part: all must be refused. ``blurred`` repeats each set
with a blur whose sigma is 0.12 of its typical cell's diameter.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import write_evidence
from benchmarks.fields.cell_truth import files_of
from benchmarks.fields.whole_slides import judged_field
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.files import read_image
from edge_malaria.records import Image
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.field_judge import FieldJudge

# Typical cell diameters, px (sides of their boxes).
SETS = {"iml": 82, "bccd": 102, "draaslan256": 49, "chula": 38, "bbbc041": 100}
BLUR = 0.12


class Judge:
    """Says for which reason ``screen`` refuses a field, each field by itself."""

    def __init__(self) -> None:
        self.finder = default_finder(read_bundle(shipped_bundle()))
        self.limits = load_config().quality

    def __call__(self, image: Image) -> str:
        """The reason; empty where the field is accepted."""
        _, _, quality = judged_field(FieldJudge(self.finder, self.limits), image)
        return quality.reason


def counted(reasons: list[str]) -> dict[str, Any]:
    """Share accepted and the reasons of the rest."""
    refused = Counter(reason for reason in reasons if reason)
    return {
        "fields": len(reasons),
        "accepted": 1 - sum(refused.values()) / max(len(reasons), 1),
        "refused": dict(refused),
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("report", "fit"), default="report")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    judged = Judge()
    fields = options.data / "fields"
    figures: dict[str, Any] = {"part": options.part, "sets": {}, "blurred": {}}
    thick = sorted((fields / "thick_smears" / "images").iterdir())
    figures["thick_smears"] = counted([judged(read_image(f)) for f in thick])
    for name, diameter in SETS.items():
        files = files_of(fields / name, options.part)
        figures["sets"][name] = counted([judged(read_image(f)) for f in files])
        spoilt = [
            np.asarray(cv2.GaussianBlur(read_image(f), (0, 0), BLUR * diameter), np.uint8)
            for f in files[::4]
        ]
        figures["blurred"][name] = counted([judged(image) for image in spoilt])
        print(name, figures["sets"][name], "blurred", figures["blurred"][name], flush=True)
    print("thick", figures["thick_smears"])
    if not options.dry:
        command = f"python -m benchmarks.fields.field_quality --data DATA --part {options.part}"
        write_evidence("field_quality", command, figures)


if __name__ == "__main__":
    main()
