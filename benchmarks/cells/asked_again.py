"""What asking cells again costs and changes -> docs/evidence/asked_again.json.

    python -m benchmarks.cells.asked_again --data DATA [--bundle BUNDLE] [--cells DIR]

For each source, its cells cut by the bundle's finder with the quality gate off: the share of cells
that is asked again (of the second network, or in eight views), the share that is flagged then, the
multiply-accumulates a cell in those of the first network, and what share of boxed or labelled
parasites is asked again and is flagged. Everything only reports; ``DIR`` as for
``benchmarks.slides.laboratory_scores``.
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
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.classify.flagged_views import VIEWS

PARASITES = ("ring", "trophozoite", "schizont", "parasitized", "parasitized-doubtful")
SOURCES = ("val", "test", *MALARIA, *MALARIA_FREE)


def cost_again(bundle: Bundle) -> float:
    """What asking a cell again costs, in runs of the first network by multiply-accumulates."""
    if bundle.second is None:
        return float(VIEWS - 1)
    first, second = (b.record["provenance"]["macs"] for b in (bundle, bundle.second))
    return float(second / first)


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
        "runs_a_cell": 1.0 + cost_again(classifier.bundle) * float(again.mean()),
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
        "second_from": bundle.classifier.decision.second_from,
        "sources": measured(bundle, options.data, options.cells, options.only.split(",")),
    }
    command = "python -m benchmarks.cells.asked_again --data DATA"
    if options.only != ",".join(SOURCES):
        command += f" --only {options.only}"
    write_evidence("asked_again", command, figures)


if __name__ == "__main__":
    main()
