"""Writes drawn cells, fields and slides as data sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.data.dataset import Row
from edge_malaria.data.splits import split_by_patient, write_patients
from edge_malaria.files import encode_image, new_directory, storage_errors, write_text
from edge_malaria.records import Image, expect
from edge_malaria.synthetic.cells import DrawnKind, draw_cell
from edge_malaria.synthetic.layout import STAGE_SHARES
from edge_malaria.synthetic.smear import draw_field
from edge_malaria.synthetic.stage import DrawnStage
from edge_malaria.synthetic.stains import pick_stain
from edge_malaria.synthetic.truth import SmearTruth

LABEL_COLUMNS = ("image", "x", "y", "w", "h", "label", "kind", "number", "whole")
_LABELS = {"healthy": "red blood cell", "white-cell": "white blood cell"}
_CLASS_FOLDERS = ("Uninfected", "Parasitized")


def _write(path: Path, image: Image) -> None:
    with storage_errors(path):
        path.write_bytes(encode_image(image, ".png"))


def drawn_cells(
    cells: int, seed: int, patients: int, size_px: int
) -> Iterator[tuple[Row, Image, DrawnKind]]:
    """Cells of drawn patients, half of them parasitized; every patient has one stain."""
    stains = [pick_stain(np.random.default_rng([seed, 5, number])) for number in range(patients)]
    stages, shares = list(STAGE_SHARES), np.array(list(STAGE_SHARES.values()))
    for index in range(cells):
        rng = np.random.default_rng([seed, 6, index])
        label = index % 2
        patient = (index // 2) % patients
        kind: DrawnKind = stages[int(rng.choice(len(stages), p=shares))] if label else "healthy"
        size = int(rng.integers(round(0.8 * size_px), round(1.2 * size_px) + 1))
        cell = draw_cell(rng, kind, size, stains[patient])
        name = f"D{patient + 1:03d}_IMG_0_cell_{index}.png"
        file = f"cell_images/{_CLASS_FOLDERS[label]}/{name}"
        row = Row(file, label, f"D{patient + 1:03d}", slide_key=f"D{patient + 1:03d}")
        yield row, cell.image, kind


def write_cells(
    directory: Path,
    cells: int = 1000,
    seed: int = 0,
    *,
    patients: int = 20,
    size_px: int = 130,
    force: bool = False,
    step: Callable[[], None] = lambda: None,
) -> tuple[Row, ...]:
    """Writes a DATASET in the NIH layout, ``cell_images/Parasitized/*`` ..., and patients.csv.

    Raises:
        OutputExists: ``directory`` exists and not ``force``.
        StorageError: disk full or not writable.
    """
    expect(cells >= 2 * patients, f"at least 2 cells a patient ({2 * patients})", cells)
    expect(size_px >= 16, "size_px >= 16", size_px)
    with new_directory(directory, force=force) as work:
        for folder in _CLASS_FOLDERS:
            (work / "cell_images" / folder).mkdir(parents=True)
        rows = []
        for row, image, _ in drawn_cells(cells, seed, patients, size_px):
            _write(work / row.file, image)
            rows.append(row)
            step()
        done = split_by_patient(rows, seed)
        write_patients(work / "patients.csv", done)
    return done


def label_rows(name: str, truth: SmearTruth) -> Iterator[tuple[object, ...]]:
    """Lines of an annotations.csv, one for each thing in the view."""
    for thing in truth.objects:
        x0, y0, x1, y1 = thing.box
        label = _LABELS.get(thing.kind, thing.kind)
        whole = int(thing.whole)
        yield name, x0, y0, x1 - x0, y1 - y0, label, thing.cell_kind, thing.number, whole


def _write_fields(directory: Path, views: Iterable[tuple[Image, SmearTruth]], force: bool) -> int:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(LABEL_COLUMNS)
    count = 0
    with new_directory(directory, force=force) as work:
        (work / "images").mkdir()
        for image, truth in views:
            name = f"field_{count:04d}.png"
            _write(work / "images" / name, image)
            table.writerows(label_rows(name, truth))
            count += 1
        write_text(work / "annotations.csv", out.getvalue())
    return count


def write_fields(
    directory: Path,
    fields: int = 10,
    seed: int = 0,
    *,
    force: bool = False,
    step: Callable[[], None] = lambda: None,
    **settings: Any,
) -> int:
    """Writes unrelated fields, each of its own smear: ``images/*.png`` and annotations.csv.

    Raises:
        OutputExists: ``directory`` exists and not ``force``.
        StorageError: disk full or not writable.
    """
    expect(fields >= 1, "fields >= 1", fields)

    def views() -> Iterator[tuple[Image, SmearTruth]]:
        for index in range(fields):
            yield draw_field(seed * 100_003 + index, **settings)
            step()

    return _write_fields(directory, views(), force)


def write_slide(
    directory: Path,
    fields: int = 20,
    seed: int = 0,
    *,
    force: bool = False,
    step: Callable[[], None] = lambda: None,
    **settings: Any,
) -> int:
    """Writes the frames of a stage that moves over one slide; returns how many.

    The column ``number`` of annotations.csv tells which cell of the slide a box shows.

    Raises:
        OutputExists: ``directory`` exists and not ``force``.
        StorageError: disk full or not writable.
    """
    stage = DrawnStage(seed, fields, **settings)

    def views() -> Iterator[tuple[Image, SmearTruth]]:
        for shot in stage:
            yield shot.image, shot.truth
            step()

    return _write_fields(directory, views(), force)
