"""The FCN beside the learned and the classical finder -> docs/evidence/segmentation_fcn.json.

    python -m benchmarks.fields.segmentation_fcn --data DATA --model RUN/fcn.keras [--drawn 20]

Fits the network where it is not there (``edge_malaria.training.segmentation.build``), converts it
to float32 and int8 TFLite (and ONNX), compares the files with Keras, and measures the int8 file as
a cell finder with the rules of ``cell_finding.py``, whose figures of the other two finders stand
beside it. Pixels are measured on drawn fields, where every class is known, and the parasite class
on the thumbnails with parasite masks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import EVIDENCE, write_evidence
from benchmarks.fields.cell_finding import (
    THIRDS,
    WHOLE,
    five_megapixels,
    measure_drawn,
    measure_set,
    met,
)
from benchmarks.fields.cell_truth import files_of
from converters import metadata, to_onnx, to_tflite
from edge_malaria.data.laboratories import Part
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.files import read_image, sha256_of, write_bytes
from edge_malaria.keras_layers import load_model
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.synthetic import draw_field
from edge_malaria.training.finder.drawn import finder_calibration_inputs
from edge_malaria.training.finder.scenes import Tile
from edge_malaria.training.segmentation.build import build
from edge_malaria.training.segmentation.network import class_iou
from edge_malaria.training.segmentation.semantic_finder import (
    PARASITE,
    PIXEL_CLASSES,
    SemanticFinder,
)
from edge_malaria.training.segmentation.tiles import pixel_truth, with_parasites

# What decides which finder ships: the asked figure of each set.
DECIDING = {
    "iml": "recall_parasitized",
    "draaslan256": "f1",
    "chula": "points_in_one_cell",
    "bccd": "recall",
    "bbbc041": "f1",
    "mpidb_preview": "parasites_in_counted_cell",
    "drawn-monolayer": "f1",
    "drawn-overlapping": "f1",
}
CHECKED_TILES = 32


def converted(model: Path) -> dict[str, Any]:
    """Writes the files beside ``model``; sizes, and how far their labels are Keras's."""
    network = load_model(model)
    tiles = finder_calibration_inputs()
    held = tiles[-CHECKED_TILES:]
    expected = np.asarray(network(held.astype(np.float32), training=False)).argmax(-1)
    found: dict[str, Any] = {}
    for variant in ("float32", "int8"):
        data = to_tflite.convert(network, variant, tiles if variant == "int8" else None)
        write_bytes(model.with_suffix(f".{variant}.tflite"), data)
        labels = open_engine(data).run(held).argmax(-1)
        found[variant] = {
            "bytes": len(data),
            "quantization": to_tflite.quantization_of(data),
            "pixels_labelled_as_by_keras": float((labels == expected).mean()),
        }
        try:
            onnx = as_onnx(network, variant, data)
            other = open_engine(onnx, "onnx").run(held).argmax(-1)
            found[variant]["onnx"] = {
                "bytes": len(onnx),
                "pixels_labelled_as_by_litert": float((other == labels).mean()),
            }
        # tf2onnx has no one exception class of its own.
        except Exception as error:
            found[variant]["onnx"] = {"failed": f"{type(error).__name__}: {error}"[:200]}
    return found


def as_onnx(network: Any, variant: str, data: bytes) -> bytes:
    """The ONNX file of one variant, as the export makes it for the learned finder."""
    facts = {"task": "label-pixels", "variant": variant}
    if variant == "float32":
        return metadata.into_onnx(to_onnx.from_keras(network), facts)
    opened = open_engine(data)
    tensors = {"input": opened.input, "output": opened.output}
    return metadata.into_onnx(to_onnx.from_tflite(data), facts, tensors)


def drawn_labels(seed: int) -> tuple[Any, Any]:
    """(field, uint8 [H, W] classes; 255 where unknown) of one drawn field."""
    diameter = float(np.random.default_rng(seed).uniform(35, 90))
    image, truth = draw_field(
        seed, width_px=640, height_px=480, cell_diameter_px=diameter, parasitemia=0.2, overlap=0.2
    )
    field = with_parasites(image, truth, diameter)
    # The truth is drawn on squares.
    side = max(image.shape[:2])
    pad = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    whole = np.ones((side, side), np.bool_)
    square = np.zeros((side, side, 3), np.uint8)
    tile = Tile(square, field.boxes, field.kinds, np.pad(field.cover, pad), field.known, whole)
    packed = pixel_truth(tile)[: image.shape[0], : image.shape[1]]
    labels = np.full(packed.shape, 255, np.uint8)
    for index in range(len(PIXEL_CLASSES)):
        labels[packed == 1 << index] = index
    return image, labels


def pixels(finder: SemanticFinder, data: Path, drawn: int) -> dict[str, Any]:
    """Intersection over union of each class on drawn fields; parasites on the thumbnails."""
    both: Counter[str] = Counter()
    either: Counter[str] = Counter()
    for seed in range(drawn):
        image, truth = drawn_labels(seed)
        for name, (a, b) in class_iou(truth, finder.label_map(image)).items():
            both[name] += a
            either[name] += b
    folder = data / "fields" / "mpidb_preview"
    masked = hit = said = 0
    for path in files_of(folder, "all"):
        name = str(folder / "masks" / f"{path.stem}.png")
        mask = np.asarray(cv2.imread(name, cv2.IMREAD_GRAYSCALE))
        found = finder.label_map(read_image(path)) == PARASITE
        masked += int((mask > 0).sum())
        said += int(found.sum())
        hit += int((found & (mask > 0)).sum())
    return {
        "drawn_fields": drawn,
        "iou": {name: both[name] / either[name] for name in PIXEL_CLASSES if either[name]},
        "mpidb_parasite_pixels": {
            "masked": masked,
            "labelled_parasite": said,
            "both": hit,
            "recall": hit / masked if masked else None,
            "precision": hit / said if said else None,
        },
    }


def verdict(sets: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Set by set whether the FCN beats the learned finder; it ships only if it never loses."""
    rows = {}
    for name, figure in DECIDING.items():
        mine = sets.get(name, {}).get(figure)
        theirs = {who: found.get(name, {}).get(figure) for who, found in others.items()}
        rows[name] = {"figure": figure, "semantic": mine, **theirs}
    learned = [(row["semantic"], row.get("learned")) for row in rows.values()]
    wins = all(a is not None and b is not None and a >= b for a, b in learned)
    return {"by_set": rows, "wins_everywhere": wins, "ships": wins}


def training_said(training: dict[str, Any] | None) -> str:
    """In words, whether the network was trained as long as planned."""
    if training is None:
        return "unknown: no record beside the network"
    done, planned = training["steps"], training["plan"]["steps"]
    if done >= planned:
        return f"complete: {done} steps"
    return (
        f"cut short: {done} of {planned} planned steps ({training['cpu_seconds']:.0f} s of "
        "processor time), too few to compete; the figures are those of this network"
    )


def main() -> int:
    """Parses, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with fields/")
    parser.add_argument("--model", type=Path, required=True, help="the FCN's .keras file")
    parser.add_argument("--drawn", type=int, default=20, help="drawn fields of each kind")
    parser.add_argument(
        "--files-only", action="store_true", help="convert again; keep the stored other figures"
    )
    given = parser.parse_args()
    if not given.model.is_file():
        build(given.data, given.model)
    cv2.setNumThreads(1)
    try:
        files = converted(given.model)
    except EdgeMalariaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    int8 = given.model.with_suffix(".int8.tflite")
    command = (
        'python -m benchmarks.fields.segmentation_fcn --data "$EDGE_MALARIA_DATA" --model fcn.keras'
    )
    if given.files_only:
        stored = json.loads((EVIDENCE / "segmentation_fcn.json").read_text(encoding="utf-8"))
        if stored["int8_sha256"] != sha256_of(int8):
            parser.error("the stored figures are of another int8 file: measure all again")
        write_evidence("segmentation_fcn", command, {**stored, "files": files}, seed=1)
        return 0
    finder = SemanticFinder(open_engine(int8))
    sets: dict[str, Any] = {}
    for name in (*THIRDS, *WHOLE):
        part: Part = "all" if name in WHOLE else "report"
        sets[name] = measure_set(finder, given.data, name, part, None)
        print(name, {k: v for k, v in sets[name].items() if k != "counts"}, flush=True)
    for name, overlapping in (("drawn-monolayer", False), ("drawn-overlapping", True)):
        sets[name] = measure_drawn(finder, given.drawn, overlapping, None)
        print(name, {k: v for k, v in sets[name].items() if k != "counts"}, flush=True)
    for name, figures in sets.items():
        figures["met"] = met(name, figures)
    other = json.loads((EVIDENCE / "cell_finding.json").read_text(encoding="utf-8"))
    beside = given.model.with_suffix(".json")
    training = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    figures = {
        "keras_sha256": sha256_of(given.model),
        "int8_sha256": sha256_of(int8),
        "training_state": training_said(training),
        "training": training,
        "training_fields": "those of the shipped learned finder, and drawn fields with parasites",
        "rule": other["rule"],
        "files": files,
        "cells": sets,
        "pixels": pixels(finder, given.data, given.drawn),
        "five_megapixels": five_megapixels([finder]),
        "other_finders": {
            "from": "docs/evidence/cell_finding.json",
            "commit": other["commit"],
            "five_megapixels": other["five_megapixels"],
        },
        "verdict": verdict(sets, other["finders"]),
    }
    print(write_evidence("segmentation_fcn", command, figures, seed=1).name, figures["verdict"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
