"""What gets "unsure" instead of a label -> docs/evidence/abstention.json.

    python -m benchmarks.cells.abstention --data "$EDGE_MALARIA_DATA"

Reports only: val and test patients, the report thirds of the field sets, the other laboratory's
slide and drawn cells. ``limits`` are those in the shipped bundle, which training fitted to train
patients; ``second_look`` is the finder's second opinion, whose margin leaves one in two hundred
cells of train patients unsure; ``unsure`` is what ``classify`` says: either.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.cells.foreign_cells import all_field_inputs
from benchmarks.evidence_file import ROOT, write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.evaluation import input_batches
from edge_malaria.metrics import clopper_pearson_interval
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.runtime.classify.abstain import not_a_red_cell
from edge_malaria.runtime.classify.second_opinion import (
    FOREIGN_ABOVE,
    SecondOpinion,
    second_opinion,
)
from edge_malaria.synthetic import DrawnKind, draw_cell
from edge_malaria.training.classifier.cells import RENDERINGS, default_cache, load_renderings

SIZE_PX = 48
SEED = 1
DRAWN_RED: tuple[DrawnKind, ...] = ("healthy", "ring", "late-trophozoite", "schizont")
DRAWN_FOREIGN: tuple[DrawnKind, ...] = ("white-cell", "platelet")


def drawn(kinds: tuple[DrawnKind, ...], count: int, seed: int) -> dict[str, Image]:
    """Drawn cells: "drawn <kind>" -> uint8 [count, S, S, 3]."""
    groups = {}
    for kind in kinds:
        rng = np.random.default_rng(seed)
        cells = [draw_cell(rng, kind) for _ in range(count)]
        groups[f"drawn {kind}"] = np.stack([network_input(c.image, SIZE_PX, c.mask) for c in cells])
    return groups


def nih(data: Path, split: str) -> dict[str, Image]:
    """Cells of one split by label."""
    dataset = open_dataset(data / "nih" / "cell_images.zip").select(split)
    stored, stain = default_cache(), preparation(shipped_target()).stain
    cells = load_renderings(dataset, SIZE_PX, RENDERINGS, cache=stored, stain=stain)["full"]
    return {
        f"{word} cells, nih {split}": cells.inputs[cells.labels == label]
        for label, word in ((0, "healthy"), (1, "parasitized"))
    }


def told(inputs: Image, fitted: dict[str, Any], opinion: SecondOpinion) -> dict[str, Any]:
    """Share that gets "unsure", with its interval, and what each of the two ways catches."""
    limits, foreign = not_a_red_cell(inputs, fitted), opinion.foreign(inputs)
    unsure = limits | foreign
    interval = clopper_pearson_interval(int(unsure.sum()), len(unsure))
    return {
        "n": len(unsure),
        "unsure": round(float(unsure.mean()), 5),
        "ci95": list(interval) if interval else None,
        "limits": round(float(limits.mean()), 5),
        "second_look": round(float(foreign.mean()), 5),
    }


def spoilt(cells: Image) -> dict[str, Image]:
    """Red cells out of focus and crops with nothing on them."""
    some = cells[::8]
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 4.0) for image in some])
    levels = (0, 60, 128, 200, 230, 255)
    blank = np.stack([np.full((SIZE_PX, SIZE_PX, 3), level, np.uint8) for level in levels])
    return {"red cells, nih test, blurred (sigma 4 of 48 px)": blurred, "blank crops": blank}


def milliseconds(judge: Callable[[Image], Any], inputs: Image, repeats: int = 9) -> float:
    """Median processor time for 300 cells, one thread."""
    cells = inputs[:300]
    times = []
    for _ in range(repeats):
        began = time.process_time()
        judge(cells)
        times.append(time.process_time() - began)
    return round(1000.0 * float(np.median(times)), 2)


def shipped_limits() -> dict[str, Any]:
    """What the default bundle holds."""
    decision = read_bundle(shipped_bundle()).classifier.decision
    return dict(decision.not_a_red_cell or {})


def shipped_target() -> Target:
    """The default bundle's way from a crop to the input."""
    return read_bundle(shipped_bundle()).classifier.target


def westlake(data: Path) -> dict[str, Image]:
    """Every third cell of the other laboratory's slide, isolated."""
    dataset = open_dataset(data / "westlake" / "cells.zip")
    some = dataclasses.replace(dataset, rows=dataset.rows[::3])
    batches = list(input_batches(some, shipped_target(), "auto"))
    labels = np.array([row.label for rows, _ in batches for row in rows])
    inputs = np.concatenate([batch for _, batch in batches])
    words = ((0, "healthy"), (1, "parasitized"))
    return {f"{word} cells, westlake": inputs[labels == label] for label, word in words}


def measure(data: Path) -> dict[str, Any]:
    """All groups, and what both ways cost."""
    train = np.concatenate(list(nih(data, "train").values()))
    fitted = shipped_limits()
    opinion = second_opinion(read_bundle(shipped_bundle()), "litert")
    assert opinion is not None, "the default bundle has a finder"
    test = nih(data, "test")
    groups = {**nih(data, "val"), **test, **westlake(data)}
    groups |= all_field_inputs(data, "report", SIZE_PX)
    groups |= drawn((*DRAWN_RED, *DRAWN_FOREIGN, "debris"), 100, SEED + 1)
    groups |= spoilt(np.concatenate(list(test.values())))
    return {
        "second_look_above": FOREIGN_ABOVE,
        "train_cells_above": round(float(opinion.foreign(train).mean()), 5),
        "unsure": {name: told(inputs, fitted, opinion) for name, inputs in groups.items()},
        "processor_ms_per_300_cells": {
            "limits": milliseconds(lambda cells: not_a_red_cell(cells, fitted), train),
            "second_look": milliseconds(opinion.foreign, train),
        },
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    command = 'python -m benchmarks.cells.abstention --data "$EDGE_MALARIA_DATA"'
    path = write_evidence("abstention", command, measure(given.data), SEED)
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
