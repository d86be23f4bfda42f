"""What asking flagged cells again costs and changes -> docs/evidence/flagged_views.json.

    python -m benchmarks.cells.flagged_views --data DATA [--bundle BUNDLE] [--cells DIR]

For each source, its cells cut by the bundle's finder with the quality gate off: the share of cells
that is asked again in eight views, the share that is flagged then, the runs of the network a cell,
and what share of boxed or labelled parasites is flagged by the first answer and by the one that
decides. Everything only reports; ``DIR`` as for ``benchmarks.slides.laboratory_scores``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.slides.laboratory_inputs import CutCells, kept_cells
from benchmarks.slides.laboratory_scores import MALARIA, MALARIA_FREE
from edge_malaria.bundle.format import Bundle, read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.classify.flagged_views import VIEWS

PARASITES = ("ring", "trophozoite", "schizont", "parasitized", "parasitized-doubtful")
SOURCES = ("val", "test", *MALARIA, *MALARIA_FREE)


def asked(classifier: Classifier, cut: CutCells) -> dict[str, Any]:
    """The figures of one source."""
    first, settled = [], []
    for start in range(0, len(cut.inputs), 512):
        batch = cut.inputs[start : start + 512]
        first.append(classifier.asks_again(classifier.logits(batch)))
        settled.append([p.positive for p in classifier.predict_inputs(batch)])
    again, flagged = np.concatenate(first), np.concatenate(settled)
    sick = np.isin(cut.labels, PARASITES)

    def share(calls: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
        return float(calls[of].mean()) if of.any() else None

    every = np.ones(len(again), np.bool_)
    return {
        "cells": len(again),
        "asked_again": share(again, every),
        "flagged": share(flagged, every),
        "runs_a_cell": 1.0 + (VIEWS - 1) * float(again.mean()),
        "parasites": int(sick.sum()),
        "parasites_asked_again": share(again, sick),
        "parasites_flagged": share(flagged, sick),
    }


def measured(
    bundle: Bundle, data: Path, folder: Path | None, sources: Sequence[str]
) -> dict[str, Any]:
    """Some sources."""
    classifier = Classifier(bundle)
    table = {}
    for source in sources:
        table[source] = asked(classifier, kept_cells(bundle, data, source, folder))
        print(source, table[source], flush=True)
    return table


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--only", default=",".join(SOURCES), help="sources, with commas")
    parser.add_argument("--cells", type=Path, help="where inputs are kept between networks")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(options.bundle)
    figures = {
        "classifier_sha256": shipped_sha256(options.bundle),
        "flagged_views": bundle.classifier.decision.flagged_views,
        "sources": measured(bundle, options.data, options.cells, options.only.split(",")),
    }
    command = "python -m benchmarks.cells.flagged_views --data DATA"
    if options.only != ",".join(SOURCES):
        command += f" --only {options.only}"
    write_evidence("flagged_views", command, figures)


if __name__ == "__main__":
    main()
