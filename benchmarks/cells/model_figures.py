"""The shipped classifier on real cells: every figure of the model card.

    python -m benchmarks.cells.model_figures --data "$EDGE_MALARIA_DATA" [--model default]

Reads test rows to report; nothing here chooses anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import ROOT, write_evidence
from edge_malaria import evaluation
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.metrics import sensitivity_at_specificity
from edge_malaria.runtime.classify.classifier import Classifier, crop_classifier
from edge_malaria.runtime.engines.opening import open_engine


def measured(bundle: Any, dataset: Any, mask: str, variant: str = "int8") -> dict[str, Any]:
    """Both operating points on one data set, with ROC points."""
    classifier = crop_classifier(bundle, variant=variant, engine="litert", threads=2)
    answers = evaluation.run(classifier, dataset, mask)
    report = evaluation.report(answers, classifier)
    screening = Classifier(bundle, variant, "litert", "screening", threads=2)
    strict = evaluation.measures(evaluation.run(screening, dataset, mask))
    for level in (0.995, 0.998):
        at = sensitivity_at_specificity(answers.truth, answers.scores, level)
        report[f"sensitivity_at_{level:g}_specificity".replace(".", "")] = at
    clean = evaluation.without_suspect(answers)
    if len(clean.rows) < len(answers.rows):
        report["without_suspect_labels"]["sensitivity_at_0995_specificity"] = (
            sensitivity_at_specificity(clean.truth, clean.scores, 0.995)
        )
    report["screening"] = {k: strict[k] for k in ("sensitivity", "specificity", "confusion")}
    return report


def pairs(bundle: Any, dataset: Any) -> dict[str, Any]:
    """The files against each other on the same cells, bit for bit where integer."""
    target = bundle.classifier.target
    batch = np.concatenate([b for _, b in evaluation.input_batches(dataset, target)])
    outputs = {
        f"{engine}.{variant}": open_engine(bundle.read(spec.file), engine, 2)
        for variant, files in bundle.classifier.variants.items()
        for engine, spec in files.items()
    }
    raw = {name: engine.run_raw(batch).reshape(-1) for name, engine in outputs.items()}
    int8 = raw["litert.int8"].astype(int) - raw["onnx.int8"].astype(int)
    return {
        "cells": len(batch),
        "int8_litert_vs_onnx_differing": int((int8 != 0).sum()),
        "int8_litert_vs_onnx_largest_step": int(np.abs(int8).max()),
        "float32_litert_vs_onnx_max_abs_logit": float(
            np.abs(raw["litert.float32"] - raw["onnx.float32"]).max()
        ),
    }


def main() -> None:
    """Measures and writes docs/evidence/<model>.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="default")
    given = parser.parse_args()
    bundle = read_bundle(shipped_bundle(given.model))
    cells = open_dataset(given.data / "nih" / "cell_images.zip")
    westlake = open_dataset(given.data / "westlake" / "cells.zip")
    test = cells.select("test")
    figures: dict[str, Any] = {
        "int8_sha256": bundle.deciding_sha256("int8", "litert"),
        "bytes": {
            f"{v}_{e}": f.bytes
            for v, fs in bundle.classifier.variants.items()
            for e, f in fs.items()
        },
        "test": measured(bundle, test, "none"),
        "test_float32": measured(bundle, test, "none", "float32"),
        "val": measured(bundle, cells.select("val"), "none"),
        "westlake": measured(bundle, westlake, "auto"),
        "westlake_unmasked": measured(bundle, westlake, "none"),
        "pairs": pairs(bundle, test),
    }
    change = figures["test"]["accuracy"] - figures["test_float32"]["accuracy"]
    figures["int8_minus_float_accuracy_points"] = 100.0 * change
    for part in ("test_float32", "val", "westlake", "westlake_unmasked"):
        figures[part].pop("per_patient")
    name = "model" if given.model == "default" else f"model-{given.model}"
    module = "python -m benchmarks.cells.model_figures"
    command = f'{module} --data "$EDGE_MALARIA_DATA" --model {given.model}'
    path = write_evidence(name, command, figures)
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
