"""A place on the slide is counted once -> docs/evidence/motion.json.

    python -m benchmarks.fields.motion [--seeds 3] [--stops 9]

A drawn slide under a stage that a hand moves: frames overlap, blur and drift in light and focus.
Every drawn cell has a number, so a cell counted twice is seen. A still stage: one place for a
minute at five frames a second.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import write_evidence
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.slide.counted_cells import CountedCells
from edge_malaria.runtime.slide.registration import Registrar
from edge_malaria.synthetic import RED_CELL_KINDS, DrawnSlide, DrawnStage, SmearTruth

MIN_NEW = load_config().motion.min_new_share


def cell_numbers(cells: list[Cell], truth: SmearTruth) -> list[int]:
    """The drawn red cell under each counted cell's middle; -1 where there is none."""
    red = [o for o in truth.objects if o.kind in RED_CELL_KINDS]
    centres = np.array([((o.box[0] + o.box[2]) / 2, (o.box[1] + o.box[3]) / 2) for o in red])
    numbers = []
    for cell in cells:
        x0, y0, x1, y1 = cell.box
        if not cell.counted:
            continue
        away = np.hypot(*(centres - [(x0 + x1) / 2, (y0 + y1) / 2]).T) if len(centres) else [1e9]
        near = int(np.argmin(away))
        numbers.append(red[near].number if away[near] < 0.35 * (x1 - x0) else -1)
    return numbers


class Scan:
    """The registration part of the pipeline, with the truth kept beside it."""

    def __init__(self) -> None:
        self.registrar, self.counted, self.finder = Registrar(), CountedCells(), ClassicalFinder()
        self.numbers: list[int] = []
        self.seen: set[int] = set()
        self.frames = self.fields = 0
        self.errors: list[float] = []
        self._origin: dict[int, tuple[float, float]] = {}

    def look(self, image: Image, truth: SmearTruth) -> None:
        """One frame."""
        self.frames += 1
        place = self.registrar.place(image)
        origin = self._origin.setdefault(
            place.chain, (truth.x_px - place.x_px, truth.y_px - place.y_px)
        )
        self.errors.append(
            float(
                np.hypot(place.x_px + origin[0] - truth.x_px, place.y_px + origin[1] - truth.y_px)
            )
        )
        if place.new_share < MIN_NEW:
            return
        self.fields += 1
        cells = self.finder.find(image)
        old = self.counted.seen(cells, place, self.registrar.earlier(place))
        fresh = [c for c, seen in zip(cells, old, strict=True) if not seen]
        self.numbers += cell_numbers(fresh, truth)
        everything = cell_numbers(cells, truth)
        self.seen |= {n for n in everything if n >= 0}
        self.registrar.commit(place)
        self.counted.add(fresh, place)

    def record(self) -> dict[str, Any]:
        """What came of it."""
        known = Counter(n for n in self.numbers if n >= 0)
        twice = sum(n - 1 for n in known.values())
        return {
            "frames": self.frames,
            "fields": self.fields,
            "cells_counted": len(self.numbers),
            "cells_counted_twice": twice,
            "share_twice": twice / max(len(self.numbers), 1),
            "seen_but_never_counted": len(self.seen - set(known)),
            "share_never": len(self.seen - set(known)) / max(len(self.seen), 1),
            "place_error_px_max": max(self.errors),
        }


def moving(seed: int, stops: int) -> dict[str, Any]:
    """A hand on the stage, with registration and without."""
    scan, naive = Scan(), []
    for shot in DrawnStage(seed, stops, 0.02, motion=1.0, view_px=(800, 600), cell_diameter_px=55):
        scan.look(shot.image, shot.truth)
        naive += cell_numbers(scan.finder.find(shot.image), shot.truth)
    known = Counter(n for n in naive if n >= 0)
    return {
        "seed": seed,
        **scan.record(),
        "share_twice_without_registration": sum(n - 1 for n in known.values()) / len(naive),
    }


def still(seed: int, frames: int) -> dict[str, Any]:
    """A still stage for a minute."""
    slide = DrawnSlide(seed, 0.02, width_px=800, height_px=600, view_px=(800, 600))
    scan = Scan()
    for shot in range(frames):
        # 20 noisy shots stand for all: drawing 300 would only repeat them.
        image, truth = slide.view(0, 0, shot=shot % 20)
        scan.look(image, truth)
    return scan.record()


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stops", type=int, default=9)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, Any] = {
        "moving": [moving(seed, options.stops) for seed in range(options.seeds)],
        "still_for_a_minute": still(7, 300),
    }
    print(figures)
    if not options.dry:
        command = (
            f"python -m benchmarks.fields.motion --seeds {options.seeds} --stops {options.stops}"
        )
        write_evidence("motion", command, figures, 0)


if __name__ == "__main__":
    main()
