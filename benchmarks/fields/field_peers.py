"""The finder beside a scikit-image watershed: F1 and time -> docs/evidence/field_peers.json.

    python -m benchmarks.fields.field_peers --data DATA [--dry]

Report thirds of the sets whose red cells are boxed, and drawn fields of a microscope camera's size.
Both look at each field in turn, each as if it were a slide of its own; the ratio of their processor
times is taken field by field, so that other work on the machine hardly matters.
Needs scikit-image.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.fields.cell_finding import drawn_row
from benchmarks.fields.cell_truth import count_boxed, files_of, rates, read_annotations
from edge_malaria.benchmark.field_peers import watershed_boxes
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.files import read_image
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.synthetic import draw_field

SETS = ("bccd", "draaslan256")
Field = tuple[Image, list[dict[str, str]]]


def watershed_cells(image: Image) -> list[Cell]:
    """The watershed's boxes as red cells."""
    boxes = watershed_boxes(image)
    return [Cell(box, np.ones((box[3] - box[1], box[2] - box[0]), np.bool_)) for box in boxes]


def boxed(folder: Path) -> Iterator[Field]:
    """The fields of a set's report third with their annotations."""
    rows = read_annotations(folder)
    for path in files_of(folder, "report"):
        yield read_image(path), rows.get(path.name, [])


def drawn() -> Iterator[Field]:
    """Drawn fields of 5 megapixels and about 300 cells."""
    for seed in range(3):
        image, truth = draw_field(seed, 2592, 1944, cell_diameter_px=110.0, density=0.55)
        yield image, [drawn_row(thing) for thing in truth.objects]


def measure(
    fields: Iterable[Field], finders: dict[str, Callable[[Image], list[Cell]]]
) -> dict[str, Any]:
    """Rates of each on the fields, and the second's times over the first's field by field."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in finders}
    seconds: dict[str, list[float]] = {name: [] for name in finders}
    for image, rows in fields:
        for name, find in finders.items():
            started = time.thread_time()
            cells = find(image)
            seconds[name].append(time.thread_time() - started)
            counts[name].update(count_boxed(image, cells, rows))
    ours, theirs = (np.array(values) for values in seconds.values())
    return {
        "fields": len(ours),
        "times_ours": round(float(np.median(theirs / ours)), 2),
        **{name: rates(counted) for name, counted in counts.items()},
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with fields/")
    parser.add_argument("--dry", action="store_true", help="print only")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    finder = default_finder(read_bundle(shipped_bundle()))
    finders: dict[str, Callable[[Image], list[Cell]]] = {
        "finder": finder.find,
        "watershed": watershed_cells,
    }
    found = {name: measure(boxed(given.data / "fields" / name), finders) for name in SETS}
    found["drawn, 5 megapixels"] = measure(drawn(), finders)
    print(found)
    if not given.dry:
        figures = {"classifier_sha256": shipped_sha256(shipped_bundle()), "sets": found}
        write_evidence(
            "field_peers", "python -m benchmarks.fields.field_peers --data DATA", figures
        )


if __name__ == "__main__":
    main()
