"""Cells of every source as the device cuts and shows them; report thirds alone, kept in a cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.westlake import westlake_inputs, westlake_rows
from benchmarks.fields.cell_truth import boxes_of, read_annotations
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import SETS, field_files, slide_of
from edge_malaria.data.stains import SlideTables
from edge_malaria.files import read_image
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.runtime.detect.cells import CellFinder, box_iou
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.training.classifier.foreign_cells import cutting_code_sha256

# Sources without malaria; chula's two sets of plain fields are one.
SOURCES = {
    "bccd": ("bccd",),
    "chula": ("chula", "chula_more"),
    "chula_disease": ("chula_disease",),
    "raabin": ("raabin",),
    "pbc": ("pbc",),
    "cheap_rig": ("cheap_rig",),
    "phone_eyepiece": ("phone_eyepiece",),
    "draaslan256": ("draaslan256",),
}


def set_cells(
    fields: Path, name: str, finder: CellFinder, target: Target
) -> dict[str, NDArray[Any]]:
    """``inputs`` uint8 [N, S, S, 3] and ``label`` str [N] (of a box at IoU >= 0.5, or empty)."""
    part = "report" if SETS[name].may_train or name == "iml" else "all"
    rows = read_annotations(fields / name) if (fields / name / "annotations.csv").is_file() else {}
    slide, current = SlideColour(), ""
    parts, labels = [], []
    for path in field_files(fields, name, part):  # type: ignore[arg-type]
        if slide_of(name, path.name) != current:
            slide, current = SlideColour(), slide_of(name, path.name)
        image = read_image(path)
        cells = [cell for cell in finder.find(image) if cell.counted]
        if not cells:
            continue
        parts.append(field_inputs(image, cells, target, slide))
        own = [row for row in rows.get(path.name, []) if row.get("w")]
        found = np.array([cell.box for cell in cells], np.float64)
        overlap = box_iou(found, boxes_of(own)) if own else np.zeros((len(cells), 1))
        names = [own[int(at.argmax())]["label"] if at.max() >= 0.5 else "" for at in overlap]
        labels += names
    return {"inputs": np.concatenate(parts), "label": np.array(labels, dtype=np.str_)}


def nih_cells(data: Path, target: Target) -> dict[str, NDArray[Any]]:
    """Val and test cells with label, split, patient and whether the label is suspect."""
    dataset = open_dataset(data / "nih" / "cell_images.zip").select(("val", "test"))
    tables = SlideTables(dataset, target)
    return {
        "inputs": np.stack([tables.input(row) for row in dataset.rows]),
        "truth": np.array([row.label == 1 for row in dataset.rows]),
        "split": np.array([str(row.split) for row in dataset.rows]),
        "patient": np.array([str(row.patient_id) for row in dataset.rows]),
        "suspect": np.array([row.suspect for row in dataset.rows]),
    }


def all_cells(
    data: Path, bundle: Bundle, target: Target, cache: Path
) -> dict[str, dict[str, NDArray[Any]]]:
    """Every source's cells, cut by the bundle's finder, prepared as ``target`` says; cached."""
    finder = default_finder(bundle)
    finder_file = bundle.finder.file("int8", "litert").sha256 if bundle.finder else "classical"
    how = preparation(target).as_json()
    key = hashlib.sha256(
        json.dumps([how, finder_file, cutting_code_sha256()]).encode()
    ).hexdigest()[:12]
    names = [name for sets in SOURCES.values() for name in sets] + ["iml", "westlake", "nih"]
    found = {}
    for name in names:
        stored = cache / f"report-{name}-{key}.npz"
        if not stored.is_file():
            if name == "nih":
                cells = nih_cells(data, target)
            elif name == "westlake":
                folder = data / "westlake"
                truth = [row["class"] == "Parasitized" for row in westlake_rows(folder)]
                cells = {"inputs": westlake_inputs(folder, target), "truth": np.array(truth)}
            else:
                cells = set_cells(data / "fields", name, finder, target)
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(stored, **cells)  # type: ignore[arg-type]
        with np.load(stored) as held:
            found[name] = {array: held[array] for array in held.files}
    return found
