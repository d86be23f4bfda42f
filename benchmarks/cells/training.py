"""Figures of a bundle's classifier on real cells -> docs/evidence/training-<name>.json.

    python -m benchmarks.cells.training --data DATA [--bundle BUNDLE] [--only fixed,resize,...]

Reports only: nothing here chooses a setting. int8 on LiteRT unless said otherwise. Sections:
``fixed`` the test split, ``resize`` the detours a cell may have taken, ``westlake`` another
laboratory's slide, ``iml`` whole fields cut by the finder (every third file),
``calibration`` with its plot.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.westlake import westlake_inputs, westlake_rows
from benchmarks.evidence_file import EVIDENCE, commit
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import report_units
from edge_malaria.files import read_image, write_bytes, write_json
from edge_malaria.metrics import (
    auc,
    confusion,
    expected_calibration_error,
    sensitivity_at_specificity,
)
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    default_cache,
    load_renderings,
)

ASEXUAL = ("ring", "trophozoite", "schizont")


class Measured:
    """A bundle's classifier, int8 and float32, at both operating points."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.int8 = Classifier(bundle, "int8", "litert")
        self.float32 = Classifier(bundle, "float32", "litert")
        points = ("balanced", "screening")
        self.thresholds = {name: bundle.classifier.threshold(name) for name in points}
        self.size_px = self.int8.input_size_px

    def chances(self, inputs: Image, variant: str = "int8") -> NDArray[np.float64]:
        """Calibrated probabilities float64 [N] of network inputs uint8 [N, S, S, 3]."""
        classifier = self.int8 if variant == "int8" else self.float32
        parts = [
            [p.p_parasitized for p in classifier.predict_inputs(inputs[start : start + 512])]
            for start in range(0, len(inputs), 512)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def rates(self, labels: NDArray[Any], chances: NDArray[np.float64]) -> dict[str, Any]:
        """AUC and the rates at both carried-over thresholds."""
        found: dict[str, Any] = {"n": len(labels), "auc": auc(labels, chances)}
        for specificity in (0.995, 0.998):
            best = sensitivity_at_specificity(labels, chances, specificity)
            found[f"sensitivity_at_specificity_{specificity}"] = best[0] if best else None
        for name, threshold in self.thresholds.items():
            counts = confusion(labels, chances >= threshold)
            found[name] = {
                "threshold": threshold,
                "accuracy": counts.accuracy,
                "sensitivity": counts.sensitivity,
                "specificity": counts.specificity,
                "mcc": counts.mcc,
            }
        return found


def nih(data: Path, measured: Measured, split: str) -> dict[Any, CellSet]:
    """All renderings of one NIH split."""
    dataset = open_dataset(data / "nih" / "cell_images.zip").select(split)
    return load_renderings(dataset, measured.size_px, RENDERINGS, cache=default_cache())


def fixed(data: Path, measured: Measured) -> dict[str, Any]:
    """The test split, raw labels and without suspect labels; int8 against float32."""
    cells = nih(data, measured, "test")["full"]
    chances = measured.chances(cells.inputs)
    floats = measured.chances(cells.inputs, "float32")
    sound = ~cells.suspect
    threshold = measured.thresholds["balanced"]
    accuracy = [np.mean((c >= threshold) == (cells.labels == 1)) for c in (chances, floats)]
    return {
        "raw_labels": measured.rates(cells.labels, chances),
        "without_suspect_labels": measured.rates(cells.labels[sound], chances[sound]),
        "int8_minus_float_accuracy": float(accuracy[0] - accuracy[1]),
        "int8_and_float_same_label": float(
            np.mean((chances >= threshold) == (floats >= threshold))
        ),
        "errors_on_suspect_labels": float(
            np.mean(~sound[(chances >= threshold) != (cells.labels == 1)])
        ),
    }


def resize(data: Path, measured: Measured) -> dict[str, Any]:
    """Share of test cells that keep their label when given at half size or at 50 x 50."""
    cells = nih(data, measured, "test")
    threshold = measured.thresholds["balanced"]
    full = measured.chances(cells["full"].inputs) >= threshold
    kept = {}
    for name in RENDERINGS[1:]:
        same = (measured.chances(cells[name].inputs) >= threshold) == full
        kept[name] = float(same.mean())
    return {"n": len(full), "same_label": kept}


def westlake(data: Path, measured: Measured) -> dict[str, Any]:
    """Another laboratory's slide, never seen: crops isolated, and as they are."""
    folder = data / "westlake"
    labels = np.array([row["class"] == "Parasitized" for row in westlake_rows(folder)])
    result = {}
    for mask in ("auto", "none"):
        inputs = westlake_inputs(folder, measured.bundle.classifier.target, mask)
        result[f"mask_{mask}"] = measured.rates(labels, measured.chances(inputs))
    return result


def iml(data: Path, measured: Measured) -> dict[str, Any]:
    """Whole fields, report third: cells cut by the field path, matched to boxes at IoU 0.5."""
    from edge_malaria.runtime.detect.cells import box_iou
    from edge_malaria.runtime.detect.opening import default_finder

    folder = data / "fields" / "iml"
    with (folder / "annotations.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    names = sorted({row["image"] for row in rows})
    finder = default_finder(measured.bundle)
    labels: list[str] = []
    chances: list[float] = []
    missed, slide = 0, SlideColour()
    reported = sorted(report_units(names))
    for name in reported:
        image = read_image(folder / "images" / name)
        cells = [cell for cell in finder.find(image) if cell.kind == "red-cell"]
        truth = [row for row in rows if row["image"] == name]
        boxes = np.array([_box(row) for row in truth], np.float64)
        found = np.array([cell.box for cell in cells], np.float64).reshape(-1, 4)
        overlap = box_iou(boxes, found) if len(found) else np.zeros((len(boxes), 1))
        best, matched = overlap.argmax(axis=1), overlap.max(axis=1) >= 0.5
        missed += int((~matched).sum())
        target = measured.bundle.classifier.target
        values = measured.chances(field_inputs(image, cells, target, slide))
        for index in np.flatnonzero(matched):
            labels.append(truth[index]["label"])
            chances.append(float(values[best[index]]))
    kinds, scores = np.array(labels), np.array(chances)
    infected, plain = np.isin(kinds, ASEXUAL), kinds == "red blood cell"
    chosen = infected | plain
    return {
        "finder": finder.name,
        "fields": len(reported),
        "boxes_without_a_cell": missed,
        "asexual": int(infected.sum()),
        "plain": int(plain.sum()),
        **measured.rates(infected[chosen], scores[chosen]),
    }


def _box(row: dict[str, str]) -> tuple[int, int, int, int]:
    x, y, width, height = (int(row[key]) for key in ("x", "y", "w", "h"))
    return x, y, x + width, y + height


def calibration(data: Path, measured: Measured) -> dict[str, Any]:
    """Expected calibration error on the test split, raw labels, and the reliability plot."""
    cells = nih(data, measured, "test")["full"]
    chances = measured.chances(cells.inputs)
    bins = []
    edges = np.linspace(0.0, 1.0, 11)
    which = np.clip(np.digitize(chances, edges) - 1, 0, 9)
    for index in range(10):
        own = which == index
        if own.any():
            entry = {"p": float(chances[own].mean()), "share": float(cells.labels[own].mean())}
            bins.append({**entry, "n": int(own.sum())})
    _plot_reliability(bins, EVIDENCE / f"reliability-{measured.bundle.name}")
    sound = ~cells.suspect
    return {
        "expected_calibration_error": expected_calibration_error(cells.labels, chances),
        "without_suspect_labels": expected_calibration_error(cells.labels[sound], chances[sound]),
        "bins": bins,
    }


def _plot_reliability(bins: list[dict[str, Any]], stem: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axis = figure.add_subplot()
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axis.plot([b["p"] for b in bins], [b["share"] for b in bins], marker="o")
    for entry in bins:
        axis.annotate(str(entry["n"]), (entry["p"], entry["share"]), fontsize=7)
    axis.set_xlabel("mean predicted probability of parasitized")
    axis.set_ylabel("share labelled parasitized (raw labels)")
    axis.set_title("reliability on test patients; n at each point")
    for suffix in (".png", ".svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], dpi=110)
        write_bytes(stem.with_suffix(suffix), buffer.getvalue())


SECTIONS: dict[str, Callable[[Path, Measured], dict[str, Any]]] = {
    "fixed": fixed,
    "resize": resize,
    "westlake": westlake,
    "iml": iml,
    "calibration": calibration,
}


def main() -> None:
    """Measures and writes; sections that were not asked for stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="default", help="a shipped model's name or a bundle")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    shipped = SHIPPED_MODELS / arguments.bundle
    bundle = read_bundle(shipped if shipped.is_dir() else Path(arguments.bundle))
    measured = Measured(bundle)
    path = EVIDENCE / f"training-{bundle.name}.json"
    stored = json.loads(path.read_text()) if arguments.only and path.is_file() else {}
    int8 = bundle.classifier.variants["int8"]["litert"]
    deciding = bundle.deciding_sha256("int8", "litert")
    if stored.get("int8_sha256") != deciding:
        stored = {}
    for name in [part for part in arguments.only.split(",") if part] or list(SECTIONS):
        print(f"{name} ...", file=sys.stderr, flush=True)
        stored[name] = SECTIONS[name](arguments.data, measured)
    head = {
        "command": f"python -m benchmarks.cells.training --data DATA --bundle {bundle.name}",
        "commit": commit(),
        "seed": bundle.record["provenance"].get("seed"),
        "bundle": bundle.name,
        "int8_bytes": int8.bytes,
        "int8_sha256": deciding,
    }
    write_json(path, {**head, **{k: v for k, v in stored.items() if k in SECTIONS}})
    print(path)


if __name__ == "__main__":
    main()
