"""The first 60 iml fields made worse step by step -> docs/evidence/spoilt_fields.json.

    python -m benchmarks.fields.spoilt_fields --data DATA [--fields 60] [--every 1]

At every step of every change the cells called parasitized stay within 30 % of the original's, or
fields are refused, or the slide is indeterminate: a curve for each change, at both thresholds. All
iml fields take part, those of the report third too: nothing is chosen here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import write_evidence
from benchmarks.fields.cell_truth import files_of
from benchmarks.fields.whole_slides import SlideScreen, SlideSeen
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.files import read_image
from edge_malaria.records import Image

Change = Callable[[Image, float], Image]
# A change may move the cells called by so much.
ALLOWED = 0.30
# At least this share of the fields must be refused for the step to count as refused.
REFUSED = 0.5


def _clipped(values: object) -> Image:
    return np.asarray(np.clip(np.rint(np.asarray(values)), 0, 255), np.uint8)


def darker(image: Image, gain: float) -> Image:
    """A lamp of ``gain`` the light."""
    return _clipped(image * gain)


def paler(image: Image, share: float) -> Image:
    """A stain of ``share`` the optical density."""
    return _clipped(255.0 * (image / 255.0) ** share)


def duller(image: Image, share: float) -> Image:
    """``share`` of the colour."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    return _clipped(grey + (image - grey) * share)


def softer(image: Image, sigma_px: float) -> Image:
    """Out of focus by a Gaussian of ``sigma_px``."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.uint8)


def warmer(image: Image, shift: float) -> Image:
    """A lamp with ``shift`` more red and as much less blue."""
    return _clipped(image * np.array([1 + shift / 2, 1.0, 1 - shift]))


def smaller(image: Image, factor: float) -> Image:
    """A camera of ``factor`` the pixels a side."""
    return np.asarray(
        cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
    )


CHANGES: dict[str, tuple[Change, tuple[float, ...]]] = {
    "darker": (darker, (0.8, 0.6, 0.45, 0.3)),
    "paler": (paler, (0.85, 0.7, 0.5, 0.35)),
    "duller": (duller, (0.85, 0.6, 0.35, 0.15)),
    "softer": (softer, (1.0, 1.5, 2.0, 3.0)),
    "warmer": (warmer, (0.1, 0.2, 0.35, 0.5)),
    "smaller": (smaller, (0.75, 0.5, 0.35, 0.25)),
}


def step_record(
    screen: SlideScreen, slide: SlideSeen, original: SlideSeen, amount: float
) -> dict[str, Any]:
    """One step's figures and whether it holds."""
    ratios = {
        "ratio_screening": slide.positive / max(original.positive, 1),
        "ratio_balanced": slide.likely / max(original.likely, 1),
    }
    verdict = screen.verdict(slide)
    within = all(abs(ratio - 1) <= ALLOWED for ratio in ratios.values())
    refused = not (slide.counted_share > 1 - REFUSED)
    held = within or refused or verdict == "indeterminate"
    rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
    return {"amount": amount, **slide.as_json(), **rounded, "verdict": verdict, "held": held}


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--every", type=int, default=1, help="only every n-th of them")
    parser.add_argument("--change", action="append", help="only these")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    files = files_of(options.data / "fields" / "iml", "all")[: options.fields : options.every]
    images = [read_image(file) for file in files]
    screen = SlideScreen(read_bundle(shipped_bundle()))
    original = screen.screened(images)
    figures: dict[str, Any] = {
        "original": {**original.as_json(), "verdict": screen.verdict(original)},
        "allowed": ALLOWED,
        "changes": {},
    }
    print("original", figures["original"], flush=True)
    for name in options.change or CHANGES:
        change, amounts = CHANGES[name]
        steps = []
        for amount in amounts:
            slide = screen.screened(change(image, amount) for image in images)
            steps.append(step_record(screen, slide, original, amount))
            print(name, steps[-1], flush=True)
        figures["changes"][name] = steps
    figures["held"] = all(step["held"] for steps in figures["changes"].values() for step in steps)
    if not options.dry:
        command = "python -m benchmarks.fields.spoilt_fields --data DATA"
        write_evidence("spoilt_fields", command, figures)


if __name__ == "__main__":
    main()
