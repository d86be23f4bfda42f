"""The whole path on real fields -> docs/evidence/malaria_fields.json (and .png).

    python -m benchmarks.fields.malaria_fields --data DATA [--bundle BUNDLE] [--all]

iml and bbbc041 hold malaria: the classifier's scores on found cells that match a box (IoU >= 0.5,
border ignored), AUC of asexual stages against plain red cells, gametocytes apart; parasitemia per
field and pooled against the boxes. bccd, chula and draaslan256 hold none: what share of their cells
is called parasitized at the screening point, and the verdict of each set taken as one slide.
westlake: unmasked crops of one slide, ``--mask auto``. Reports only; every third file name unless
--all, bbbc041 whole.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.cells.westlake import westlake_inputs
from benchmarks.evidence_file import EVIDENCE, shipped_sha256, write_evidence
from benchmarks.fields.cell_truth import boxes_of, files_of, inside_field, match, read_annotations
from benchmarks.fields.whole_slides import judged_field
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.laboratories import Part
from edge_malaria.files import read_image
from edge_malaria.metrics import auc
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.records import Cell, Image, Prediction
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.field_judge import FieldJudge
from edge_malaria.runtime.screen.slide_errors import slide_errors
from edge_malaria.runtime.slide.statistics import SlideCount, SlideStatistics

ASEXUAL = {"ring", "trophozoite", "schizont"}
MALARIA = ("iml", "bbbc041")
NO_MALARIA = ("bccd", "chula", "draaslan256")


class WholePath:
    """Finder, classifier and statistics of one bundle at the screening point."""

    def __init__(self, bundle: Bundle) -> None:
        self.finder: CellFinder = default_finder(bundle)
        self.classifier = Classifier(bundle, operating_point="screening")
        self.balanced = bundle.classifier.threshold("balanced")
        self.statistics = SlideStatistics(slide_errors(bundle))
        self.limits = load_config().quality
        self.next_slide()

    def next_slide(self) -> None:
        """What comes now is another slide."""
        self.colour = SlideColour()
        self.fields = FieldJudge(self.finder, self.limits)

    def look(self, image: Image) -> tuple[list[Cell], list[Prediction], str]:
        """Red cells, their predictions, and the reason for which the field would be refused.

        Cells of refused fields are looked for all the same.
        """
        shown, found, quality = judged_field(self.fields, image, refused_too=True)
        if quality.accepted:
            self.fields.counted([cell.box for cell in found if cell.counted])
        cells = [cell for cell in found if cell.kind == "red-cell"]
        batch = field_inputs(shown, cells, self.classifier.target, self.colour)
        return cells, self.classifier.predict_inputs(batch), quality.reason

    def count(self, predictions: Sequence[Prediction]) -> SlideCount:
        """What the statistics need of counted cells."""
        low = self.statistics.rules.doubtful_from
        doubtful = sum(not p.positive and p.p_parasitized >= low for p in predictions)
        likely = sum(p.p_parasitized >= self.balanced for p in predictions)
        return SlideCount(len(predictions), sum(p.positive for p in predictions), doubtful, likely)


def slide_record(path: WholePath, count: SlideCount) -> dict[str, Any]:
    """The slide's numbers for the table."""
    result = path.statistics.result(count)
    return {
        "cells_counted": count.cells,
        "called_parasitized": count.positive,
        "share_called": count.positive / max(count.cells, 1),
        "measured_at": result.measured_at,
        "share_doubtful": count.borderline / max(count.cells, 1),
        "verdict": result.verdict,
        "unfamiliar": result.unfamiliar,
        "parasitemia": result.parasitemia,
        "ci95": None if result.ci95 is None else list(result.ci95),
        "count_needed": result.count_needed,
    }


def malaria_set(path: WholePath, folder: Path, part: Part) -> dict[str, Any]:
    """One set with malaria."""
    path.next_slide()
    rows = read_annotations(folder)
    scores: list[float] = []
    labels: list[str] = []
    fields, counted, refused = [], [], 0
    for file in files_of(folder, part):
        image, truth = read_image(file), rows.get(file.name, [])
        cells, predictions, reason = path.look(image)
        refused += bool(reason)
        boxes, names = boxes_of(truth), np.array([r["label"] for r in truth])
        keep = inside_field(boxes, image) & np.isin(
            names, ["red blood cell", *ASEXUAL, "gametocyte"]
        )
        found = np.array([c.box for c in cells], np.float64).reshape(-1, 4)
        index = np.flatnonzero(keep)
        for a, b in match(boxes[index], found):
            scores.append(predictions[b].p_parasitized)
            labels.append(str(names[index[a]]))
        own = [p for c, p in zip(cells, predictions, strict=True) if c.counted]
        boxed = np.isin(names, ["red blood cell", *ASEXUAL]).sum()
        fields.append(
            {
                "truth": float(np.isin(names, list(ASEXUAL)).sum() / max(boxed, 1)),
                "cells": len(own),
                "called": sum(p.positive for p in own),
            }
        )
        if not reason:
            counted += own
    p, name = np.array(scores), np.array(labels)
    plain, sick, later = (
        name == "red blood cell",
        np.isin(name, list(ASEXUAL)),
        name == "gametocyte",
    )
    threshold = path.classifier.threshold
    truth_cells = sum(f["truth"] * f["cells"] for f in fields) / max(
        sum(f["cells"] for f in fields), 1
    )
    return {
        "fields": len(fields),
        "fields_refused": refused,
        "matched": {
            "plain": int(plain.sum()),
            "asexual": int(sick.sum()),
            "gametocyte": int(later.sum()),
        },
        "auc_asexual": auc(sick[plain | sick].astype(int), p[plain | sick]),
        "auc_gametocyte": auc(later[plain | later].astype(int), p[plain | later])
        if later.any()
        else None,
        "per_stage_called": {
            s: float((p[name == s] >= threshold).mean())
            for s in sorted(ASEXUAL)
            if (name == s).any()
        },
        "plain_called": float((p[plain] >= threshold).mean()),
        "parasitemia_boxes": float(truth_cells),
        "slide": slide_record(path, path.count(counted)),
        "per_field": fields,
    }


def healthy_set(path: WholePath, folder: Path, part: Part) -> dict[str, Any]:
    """One set without malaria, taken as one slide."""
    path.next_slide()
    gated: list[Prediction] = []
    everything: list[Prediction] = []
    refused = 0
    files = files_of(folder, part)
    for file in files:
        cells, predictions, reason = path.look(read_image(file))
        own = [p for c, p in zip(cells, predictions, strict=True) if c.counted]
        everything += own
        refused += bool(reason)
        gated += [] if reason else own
    return {
        "fields": len(files),
        "fields_refused": refused,
        "slide": slide_record(path, path.count(gated)),
        "slide_without_quality_gate": slide_record(path, path.count(everything)),
    }


def westlake(path: WholePath, folder: Path) -> dict[str, Any]:
    """The other laboratory's slide, its unmasked crops isolated by the field segmenter."""
    with (folder / "cells.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    inputs = westlake_inputs(folder, path.classifier.target)
    predictions: list[Prediction] = []
    for start in range(0, len(rows), 512):
        predictions += path.classifier.predict_inputs(inputs[start : start + 512])
    truth = np.array([r["class"] == "Parasitized" for r in rows])
    p = np.array([q.p_parasitized for q in predictions])
    record = slide_record(path, path.count(predictions))
    share, shown = float(truth.mean()), record["parasitemia"]
    return {
        "cells": len(rows),
        "auc": auc(truth.astype(int), p),
        "parasitemia_truth": share,
        "relative_error": None if shown is None else abs(shown - share) / share,
        "slide": record,
    }


def plot(figures: dict[str, Any], target: Path) -> None:
    """Share called against share boxed, field by field."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), constrained_layout=True)
    for axis, name in zip(axes, MALARIA, strict=True):
        rows = figures["malaria"][name]["per_field"]
        truth = np.array([100 * r["truth"] for r in rows])
        called = np.array([100 * r["called"] / max(r["cells"], 1) for r in rows])
        axis.plot([0, truth.max() + 1], [0, truth.max() + 1], color="0.7", lw=1)
        axis.scatter(truth, called, s=18, alpha=0.7, color="#0072b2")
        axis.set(title=name, xlabel="boxed parasitemia, %", ylabel="cells called parasitized, %")
    figure.savefig(target, dpi=130)
    plt.close(figure)


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--all", action="store_true", help="all fields instead of the report third")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    path = WholePath(read_bundle(options.bundle))
    part: Part = "all" if options.all else "report"
    fields = options.data / "fields"
    figures: dict[str, Any] = {"classifier_sha256": shipped_sha256(options.bundle), "part": part}
    figures["finder"] = path.finder.name
    figures["malaria"] = {
        name: malaria_set(path, fields / name, "all" if name == "bbbc041" else part)
        for name in MALARIA
    }
    figures["no_malaria"] = {n: healthy_set(path, fields / n, part) for n in NO_MALARIA}
    figures["westlake"] = westlake(path, options.data / "westlake")
    if not options.dry:
        write_evidence(
            "malaria_fields", "python -m benchmarks.fields.malaria_fields --data DATA", figures
        )
        plot(figures, EVIDENCE / "malaria_fields.png")
    for name, value in figures["malaria"].items():
        print(name, {k: v for k, v in value.items() if k != "per_field"})
    for name, value in figures["no_malaria"].items():
        print(name, value)
    print("westlake", figures["westlake"])


if __name__ == "__main__":
    main()
