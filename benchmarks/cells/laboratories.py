"""One threshold for every laboratory -> docs/evidence/laboratories.json.

    python -m benchmarks.cells.laboratories --data "$EDGE_MALARIA_DATA" [--bundle BUNDLE]
        [--keras NAME=FILE ...] [--cache DIR]

For each network: the lowest threshold where no malaria-free source has more than 1 % (.1 %)
of its cells called, and the sensitivity there on westlake, on iml's asexual stages and on the NIH
val and test patients without suspect labels. Then AUCs, NIH test accuracy, what share of each
source is called at the bundle's own two points, and sensitivity there. Cells are cut by the shipped
finder and scaled as ``screen`` does; report thirds alone (``phone_eyepiece`` whole: it never
teaches).
A bundle without the colour scaling is measured once as it is and once behind it. ``--keras``
measures further float networks behind it, for example those that leave a laboratory out: their own
laboratory's sources are the ones to look at. Everything only reports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.westlake import westlake_inputs, westlake_rows
from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.fields.cell_truth import boxes_of, read_annotations
from edge_malaria.bundle.format import Bundle, read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import SETS, field_files, slide_of
from edge_malaria.data.stains import SlideTables
from edge_malaria.files import read_image, sha256_of
from edge_malaria.metrics import auc
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour, StainScaling
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.cells import CellFinder, box_iou
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import open_engine

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
ASEXUAL = ("ring", "trophozoite", "schizont")
LIMITS = (0.01, 0.001)
Logits = NDArray[np.float64]
Network = Callable[[Image], Logits]


def set_cells(
    fields: Path, name: str, finder: CellFinder, target: Target
) -> dict[str, NDArray[Any]]:
    """``inputs`` uint8 [N, S, S, 3] and ``label`` str [N] (of a box at IoU >= 0.5, or empty)."""
    part = "report" if SETS[name].teaches or name == "iml" else "all"
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
    key = hashlib.sha256(json.dumps([how, finder_file]).encode()).hexdigest()[:12]
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


def threshold_at(logits: Logits, limit: float) -> float:
    """The lowest logit above which at most ``limit`` of the cells lie."""
    ordered = np.sort(logits)[::-1]
    return float(ordered[int(limit * len(ordered))])


def shares(
    cells: dict[str, dict[str, Any]], logits: dict[str, Logits], above: float
) -> dict[str, Any]:
    """What is called where a cell is called above ``above``."""
    iml, nih, west = cells["iml"]["label"], cells["nih"], cells["westlake"]["truth"]
    sound = ~nih["suspect"]
    healthy = np.char.startswith(nih["patient"], "H")
    called = {name: values > above for name, values in logits.items()}
    return {
        "westlake": float(called["westlake"][west].mean()),
        "westlake_healthy": float(called["westlake"][~west].mean()),
        "iml_asexual": float(called["iml"][np.isin(iml, ASEXUAL)].mean()),
        "iml_plain": float(called["iml"][iml == "red blood cell"].mean()),
        "nih_without_suspect": float(called["nih"][nih["truth"] & sound].mean()),
        "nih_test_without_suspect": float(
            called["nih"][nih["truth"] & sound & (nih["split"] == "test")].mean()
        ),
        "nih_healthy_patients": float(called["nih"][healthy].mean()),
        "sources": {
            source: float(np.concatenate([called[name] for name in sets]).mean())
            for source, sets in SOURCES.items()
        },
    }


def measured(cells: dict[str, dict[str, Any]], network: Network) -> dict[str, Any]:
    """Every figure of one network that needs no operating point of its own."""
    logits = {name: network(held["inputs"]) for name, held in cells.items()}
    plain = {
        source: np.concatenate([logits[name] for name in sets]) for source, sets in SOURCES.items()
    }
    result: dict[str, Any] = {"cells": {source: len(values) for source, values in plain.items()}}
    for limit in LIMITS:
        each = {source: threshold_at(values, limit) for source, values in plain.items()}
        bound = max(each, key=lambda source: each[source])
        result[f"at_most_{limit:g}"] = {
            "logit": each[bound],
            "bound_by": bound,
            "logit_of_each": each,
            **shares(cells, logits, each[bound]),
        }
    iml, nih = cells["iml"]["label"], cells["nih"]
    sick = np.isin(iml, ASEXUAL)
    known, test = sick | (iml == "red blood cell"), nih["split"] == "test"
    result["auc"] = {
        "westlake": auc(cells["westlake"]["truth"].astype(int), logits["westlake"]),
        "iml_asexual": auc(sick[known].astype(int), logits["iml"][known]),
        "nih_test": auc(nih["truth"][test].astype(int), logits["nih"][test]),
        "nih_val": auc(nih["truth"][~test].astype(int), logits["nih"][~test]),
    }
    result["logits"] = logits
    return result


def logits_of(engine: Engine, batch: Image) -> Logits:
    """uint8 [N, S, S, 3] -> float64 [N]."""
    parts = [engine.run(batch[i : i + 256]).reshape(-1) for i in range(0, len(batch), 256)]
    return np.concatenate(parts).astype(np.float64)


def own_points(
    bundle: Bundle, cells: dict[str, dict[str, Any]], logits: dict[str, Logits]
) -> dict[str, Any]:
    """What the bundle calls at its own thresholds, and NIH test accuracy at the balanced one."""
    decision = bundle.classifier.decision
    found: dict[str, Any] = {}
    for point in ("balanced", "screening"):
        chance = bundle.classifier.threshold(point)
        logit = np.log(chance / (1 - chance)) * decision.temperature - decision.bias
        found[point] = shares(cells, logits, float(np.nextafter(logit, -np.inf)))
        if point == "balanced":
            nih = cells["nih"]
            right = (logits["nih"] >= logit) == nih["truth"]
            found["nih_test_accuracy"] = float(right[nih["split"] == "test"].mean())
    return found


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--keras", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--cache", type=Path, default=Path("runs/laboratories"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(given.bundle)
    how = preparation(bundle.classifier.target)
    cells = all_cells(given.data, bundle, how, given.cache)
    engine = Classifier(bundle).engine

    def run(batch: Image) -> Logits:
        return logits_of(engine, batch)

    shipped = measured(cells, run)
    logits = shipped.pop("logits")
    shipped["own_points"] = own_points(bundle, cells, logits)
    networks = {"shipped": shipped}
    if how.stain is None:
        how = replace(how, stain=StainScaling())
        cells = all_cells(given.data, bundle, how, given.cache)
        networks["shipped behind the colour scaling"] = _without_logits(measured(cells, run))
    for entry in given.keras:
        name, file = entry.split("=", 1)
        networks[name] = keras_figures(Path(file), cells)
    figures = {"int8_sha256": shipped_sha256(given.bundle), "networks": networks}
    command = (
        'python -m benchmarks.cells.laboratories --data "$EDGE_MALARIA_DATA" --keras NAME=FILE'
    )
    path = write_evidence("laboratories", command, figures)
    print(f"wrote {path.name}")


def _without_logits(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "logits"}


def keras_figures(file: Path, cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A Keras network in float32 on LiteRT behind the same inputs."""
    from converters.to_tflite import convert
    from edge_malaria.keras_layers import load_model, strip_fake_quant

    engine = open_engine(convert(strip_fake_quant(load_model(file)), "float32"), "litert", 1)
    found = measured(cells, lambda batch: logits_of(engine, batch))
    return {"keras_sha256": sha256_of(file), **_without_logits(found)}


if __name__ == "__main__":
    main()
