"""Measures cell finding on whole fields: both finders, every set, accuracy beside milliseconds.

    python -m benchmarks.fields.cell_finding --data DATA --model finder.int8.tflite -o OUT.json

Truth and predictions that touch the field's border are ignored on both sides; the rest is matched
one to one at IoU 0.5, best pairs first. ``--part report`` measures every third file name, sorted;
``--part fit`` the others, where settings are chosen. bbbc041, the thumbnails and the drawn fields
are measured whole. Times are the thread's own processor time, so that a busy machine does not
change them; the engine runs on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import commit
from benchmarks.fields.cell_truth import (
    PARASITIZED,
    count_boxed,
    count_masked,
    count_points,
    files_of,
    rates,
    read_annotations,
)
from edge_malaria.data.laboratories import Part
from edge_malaria.files import encode_image, read_image, sha256_of, write_image, write_json
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.learned import LearnedFinder
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.synthetic import DrawnObject, draw_field

THIRDS = ("iml", "draaslan256", "chula", "bccd")
WHOLE = ("bbbc041", "mpidb_preview")
# What the project asks of each figure.
TARGETS = {
    "iml": {"recall": 0.93, "recall_parasitized": 0.95},
    "draaslan256": {"f1": 0.88},
    "chula": {"points_in_one_cell": 0.93},
    "bccd": {"recall": 0.80},
    "mpidb_preview": {"parasites_in_counted_cell": 0.9},
    "drawn-monolayer": {"f1": 0.97},
    "drawn-overlapping": {"f1": 0.90},
}
WHITE_COUNTED_AS_RED_LIMIT = 0.02
COLOURS = {
    "red-cell": (0, 160, 0),
    "white-cell": (220, 0, 0),
    "platelet": (200, 0, 200),
    "debris": (230, 120, 0),
}


def truth_rows(folder: Path, path: Path, rows: dict[str, list[dict[str, str]]]) -> Any:
    """What is known of one field: its rows, or a mask for the thumbnails."""
    if (folder / "masks").is_dir():
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        return np.zeros((1, 1), np.uint8) if mask is None else mask
    return rows.get(path.name, [])


def count_one(name: str, image: Image, cells: list[Cell], truth: Any) -> Counter[str]:
    """Counts of one field of set ``name``."""
    if name == "chula":
        return count_points(cells, truth)
    if name == "mpidb_preview":
        return count_masked(image, cells, truth)
    return count_boxed(image, cells, truth)


def measure_set(
    finder: CellFinder, data: Path, name: str, part: Part, pictures: Path | None
) -> Any:
    """Figures, counts and milliseconds of a finder on one set."""
    folder = data / "fields" / name
    rows = read_annotations(folder)
    total: Counter[str] = Counter()
    times = []
    for path in files_of(folder, part):
        image = read_image(path)
        started = time.thread_time()
        cells = finder.find(image)
        times.append((time.thread_time() - started) * 1e3)
        truth = truth_rows(folder, path, rows)
        total.update(count_one(name, image, cells, truth))
        if pictures is not None:
            out = pictures / finder.name / name / f"{path.stem}.png"
            write_image(out, drawn_over(image, cells, truth))
    return {
        "part": part,
        "fields": len(times),
        "ms_median": round(float(np.median(times)), 1),
        **rates(total),
        "counts": dict(sorted(total.items())),
    }


def measure_drawn(finder: CellFinder, count: int, overlapping: bool, pictures: Path | None) -> Any:
    """The same on drawn fields: few overlaps, or a third of the cells overlapping."""
    total: Counter[str] = Counter()
    times = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        image, truth = draw_field(
            seed,
            cell_diameter_px=float(rng.uniform(35, 110)),
            density=float(rng.uniform(0.2, 0.45)),
            overlap=0.33 if overlapping else 0.0,
        )
        started = time.thread_time()
        cells = finder.find(image)
        times.append((time.thread_time() - started) * 1e3)
        rows = [drawn_row(thing) for thing in truth.objects]
        total.update(count_boxed(image, cells, rows))
        if pictures is not None:
            kind = "overlapping" if overlapping else "monolayer"
            out = pictures / finder.name / f"drawn-{kind}" / f"{seed}.png"
            write_image(out, drawn_over(image, cells, rows))
    return {
        "part": "all",
        "fields": count,
        "ms_median": round(float(np.median(times)), 1),
        **rates(total),
        "counts": dict(sorted(total.items())),
    }


def drawn_row(thing: DrawnObject) -> dict[str, str]:
    """A drawn object as a row of annotations."""
    x0, y0 = str(thing.box[0]), str(thing.box[1])
    label = {"red-cell": "RBC", "white-cell": "WBC"}.get(thing.cell_kind, thing.cell_kind)
    if thing.parasitized:
        label = thing.kind if thing.kind in PARASITIZED else "trophozoite"
    width, height = str(thing.box[2] - thing.box[0]), str(thing.box[3] - thing.box[1])
    return {"x": x0, "y": y0, "w": width, "h": height, "label": label}


def drawn_over(image: Image, cells: list[Cell], truth: Any) -> Image:
    """The field with truth (thin cyan) and found cells (by kind; yellow: red but not counted)."""
    zoom = max(1, round(1280 / image.shape[1]))
    page = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR_EXACT)
    for row in truth if isinstance(truth, list) else []:
        x, y = int(float(row["x"]) * zoom), int(float(row["y"]) * zoom)
        if row["w"]:
            end = (x + int(float(row["w"]) * zoom), y + int(float(row["h"]) * zoom))
            cv2.rectangle(page, (x, y), end, (0, 200, 255), 1)
        else:
            cv2.circle(page, (x, y), 3, (0, 200, 255), cv2.FILLED)
    for cell in cells:
        contours, _ = cv2.findContours(
            np.pad(cell.mask, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        colour = COLOURS[cell.kind]
        if cell.kind == "red-cell" and not cell.counted:
            colour = (200, 200, 0)
        corner = np.array(cell.box[:2]) - 1
        lines = [np.asarray((line + corner) * zoom, np.int32) for line in contours]
        cv2.polylines(page, lines, True, colour, 2)
    return np.asarray(page, np.uint8)


def median_ms(work: Callable[[], object]) -> float:
    """Median milliseconds of nine runs."""
    times = []
    for _ in range(9):
        started = time.thread_time()
        work()
        times.append((time.thread_time() - started) * 1e3)
    return round(float(np.median(times)), 1)


def five_megapixels(finders: Sequence[CellFinder]) -> dict[str, Any]:
    """Milliseconds on a drawn 2592 x 1944 field of ~300 cells, beside decoding its JPEG."""
    field, truth = draw_field(
        5, width_px=2592, height_px=1944, cell_diameter_px=95.0, density=0.42, overlap=0.2
    )
    data = np.frombuffer(encode_image(field, ".jpg", quality=90), np.uint8)
    return {
        "red_cells": len(truth.red_cells),
        "decode_ms": median_ms(lambda: cv2.imdecode(data, cv2.IMREAD_COLOR)),
        **{f"{finder.name}_ms": median_ms(partial(finder.find, field)) for finder in finders},
    }


def met(name: str, figures: dict[str, Any]) -> dict[str, bool]:
    """Whether each asked figure is reached; a figure that is missing is not."""
    wanted = TARGETS.get(name, {})
    answer = {key: bool(figures.get(key, -1.0) >= least) for key, least in wanted.items()}
    if "white_counted_as_red" in figures:
        share = figures["white_counted_as_red"]
        answer["white_counted_as_red"] = bool(share <= WHITE_COUNTED_AS_RED_LIMIT)
    return answer


def show(document: dict[str, Any]) -> None:
    """Prints one line a set and finder."""
    for finder, sets in document["finders"].items():
        for name, figures in sets.items():
            shown = {k: v for k, v in figures.items() if k not in ("counts", "met", "part")}
            missed = [k for k, ok in figures.get("met", {}).items() if not ok]
            line = "  ".join(f"{key} {value}" for key, value in shown.items())
            print(f"{finder:9} {name:18} {line}" + (f"  MISSED: {missed}" if missed else ""))
    print("five megapixels  ", document["five_megapixels"])


def main() -> int:
    """Parses, measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with fields/")
    parser.add_argument("--model", type=Path, help="the finder's .tflite or .onnx")
    parser.add_argument("--part", choices=("report", "fit"), default="report")
    parser.add_argument("--drawn", type=int, default=20, help="drawn fields of each kind")
    parser.add_argument("--pictures", type=Path, help="where to write every field with its cells")
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    finders: list[CellFinder] = [ClassicalFinder()]
    if options.model:
        engine = "onnx" if options.model.suffix == ".onnx" else "litert"
        finders.append(LearnedFinder(open_engine(options.model, engine)))
    document: dict[str, Any] = {
        "seed": "drawn fields 0 to N - 1",
        "command": "python -m benchmarks.fields.cell_finding --part " + options.part,
        "commit": commit(),
        "rule": "border (1 px) ignored on both sides; one to one at IoU 0.5; thread time",
        "model_sha256": sha256_of(options.model) if options.model else None,
        "targets": TARGETS,
        "finders": {},
    }
    for finder in finders:
        sets: dict[str, Any] = {}
        for name in (*THIRDS, *(WHOLE if options.part == "report" else ())):
            part: Part = "all" if name in WHOLE else options.part
            sets[name] = measure_set(finder, options.data, name, part, options.pictures)
        for name, overlapping in (("drawn-monolayer", False), ("drawn-overlapping", True)):
            sets[name] = measure_drawn(finder, options.drawn, overlapping, options.pictures)
        for name, figures in sets.items():
            figures["met"] = met(name, figures)
        document["finders"][finder.name] = sets
    document["five_megapixels"] = five_megapixels(finders)
    show(document)
    if options.output:
        write_json(options.output, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
