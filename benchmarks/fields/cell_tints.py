"""The tints of red cells of every laboratory that may decide -> docs/evidence/cell_tints.json.

    python -m benchmarks.fields.cell_tints --data DATA [--pictures 8]

``runtime.classify.cell_tint`` says "unsure" of colours that no red cell has. Its limits rest on
what this prints: of the pictures that do not report, of the sets that teach and of iml, the NIH
training patients and drawn smears, the median tint of each source and the range of single cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import TRAINING_SETS, field_files
from edge_malaria.files import read_image
from edge_malaria.prepare.stain import evenly
from edge_malaria.records import Image
from edge_malaria.runtime.classify.cell_tint import (
    CellTint,
    cell_tint,
    foreign_cell,
    foreign_slide,
)
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.screen.field_judge import view_of
from edge_malaria.synthetic import draw_field
from edge_malaria.synthetic.stains import BACKGROUNDS, STAINS

# Nothing is trained on iml, but settings may be chosen on its pictures that do not report.
DECIDING = (*TRAINING_SETS, "iml")
# The limits of a slide lie this much beyond the range of the sources' medians. One cell tells less:
# its limits lie further beyond the range of all cells, of which so few are left out at each end,
# as some are no red cells.
SLIDE_BEYOND, CELL_BEYOND = 1.15, 1.3
LEFT_OUT = 0.001
CELLS_A_PICTURE = 40
NIH_CELLS = 1200


def deciding_files(fields: Path, name: str) -> list[Path]:
    """The pictures of a set whose colours may decide; none of a set that only reports."""
    return field_files(fields, name, "fit") if name in DECIDING else []


def found_tints(image: Image, finder: CellFinder) -> list[CellTint | None]:
    """The tints of a field's counted cells, as they are classified."""
    shown = view_of(image).corrected()
    cells = [cell for cell in finder.find(shown) if cell.counted]
    chosen = [cells[i] for i in evenly(len(cells), CELLS_A_PICTURE)]
    return [cell_tint(shown[c.box[1] : c.box[3], c.box[0] : c.box[2]], c.mask) for c in chosen]


def drawn_tints(stain: str) -> list[CellTint | None]:
    """Healthy drawn cells of a stain on every background."""
    tints: list[CellTint | None] = []
    for seed, background in enumerate(BACKGROUNDS):
        image, truth = draw_field(
            seed, 640, 480, 60.0, parasitemia=0.0, stain=stain, background=background
        )
        for item in [item for item in truth.red_cells if item.whole][:CELLS_A_PICTURE]:
            x0, y0, x1, y1 = item.box
            tints.append(cell_tint(image[y0:y1, x0:x1], item.mask))
    return tints


def sources(data: Path, pictures: int) -> Iterator[tuple[str, list[CellTint | None]]]:
    """Every source that may decide, with the tints of its cells."""
    finder = default_finder(read_bundle(shipped_bundle()))
    for name in DECIDING:
        files = deciding_files(data / "fields", name)
        chosen = [files[i] for i in evenly(len(files), pictures)]
        yield name, [t for file in chosen for t in found_tints(read_image(file), finder)]
    dataset = open_dataset(data / "nih" / "cell_images.zip").select("train")
    rows = [dataset.rows[i] for i in evenly(len(dataset.rows), NIH_CELLS)]
    yield "nih train", [cell_tint(dataset.read(row)) for row in rows]
    for stain in STAINS:
        yield f"drawn {stain}", drawn_tints(stain)


def reporting(data: Path, pictures: int) -> Iterator[tuple[str, list[CellTint | None]]]:
    """Sets that only report: how they fare, for the record."""
    finder = default_finder(read_bundle(shipped_bundle()))
    for name in ("bbbc041", "phone_eyepiece"):
        files = field_files(data / "fields", name, "all")
        chosen = [files[i] for i in evenly(len(files), pictures)]
        yield name, [t for file in chosen for t in found_tints(read_image(file), finder)]


def as_rows(tints: list[CellTint | None]) -> NDArray[np.float64]:
    """float64 [N, 3]: colour, red to green, blue to green of the cells that show anything."""
    rows = [(t.colour, t.red_to_green, t.blue_to_green) for t in tints if t is not None]
    return np.array(rows, np.float64).reshape(-1, 3)


def figures_of(tints: list[CellTint | None], rows: NDArray[np.float64]) -> dict[str, Any]:
    """The range of a source's cells and their median, and what the limits in force say of them."""
    return {
        "cells": len(tints),
        "median": np.round(np.median(rows, axis=0), 4).tolist(),
        "least": np.round(rows.min(axis=0), 4).tolist(),
        "most": np.round(rows.max(axis=0), 4).tolist(),
        "cells_outside": sum(foreign_cell(tint) for tint in tints),
        "slide_outside": foreign_slide(tints),
    }


def limits_of(rows: NDArray[np.float64], apart: float, beyond: float) -> dict[str, Any]:
    """``beyond`` times outside the range of rows [N, 3] without the share ``apart`` at each end."""
    low = np.quantile(rows, apart, axis=0) / beyond
    high = np.quantile(rows, 1 - apart, axis=0) * beyond
    return {
        "colour": round(float(low[0]), 3),
        "red_to_green": [round(float(low[1]), 2), round(float(high[1]), 2)],
        "blue_to_green": [round(float(low[2]), 2), round(float(high[2]), 2)],
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=12, help="of each set")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, Any] = {
        "slide_beyond": SLIDE_BEYOND,
        "cell_beyond": CELL_BEYOND,
        "deciding": {},
        "reporting": {},
    }
    deciding = []
    for name, tints in sources(options.data, options.pictures):
        deciding.append(as_rows(tints))
        figures["deciding"][name] = figures_of(tints, deciding[-1])
        print(name, figures["deciding"][name], flush=True)
    for name, tints in reporting(options.data, options.pictures):
        figures["reporting"][name] = figures_of(tints, as_rows(tints))
        print(name, figures["reporting"][name], flush=True)
    medians = np.stack([np.median(rows, axis=0) for rows in deciding])
    figures["slide_limits"] = limits_of(medians, 0.0, SLIDE_BEYOND)
    figures["cell_limits"] = limits_of(np.concatenate(deciding), LEFT_OUT, CELL_BEYOND)
    print(figures["slide_limits"], figures["cell_limits"])
    if not options.dry:
        command = (
            f"python -m benchmarks.fields.cell_tints --data DATA --pictures {options.pictures}"
        )
        write_evidence("cell_tints", command, figures)


if __name__ == "__main__":
    main()
