"""How many errors are suspect labels -> docs/evidence/label_contradictions.json.

    python -m benchmarks.cells.contradictions --data "$EDGE_MALARIA_DATA" --run RUN

``RUN`` is a cross-validation's directory (``benchmarks.literature.crossval``). Two opinions on a
cell, both by networks that never saw its patient or, of the other kind, that did:

- ``own``: the fold's network, which never saw the patient, contradicts the label with p > 0.95.
- ``every``: so does the network of *every* fold (told for p > 0.5 too). The other folds' networks
  were trained on the very cell with the very label that they contradict, so they speak against what
  they were trained on.

Pages of those cells, labelled infected ones first, are written to RUN and nowhere else: they show
real cells. The ceiling is the accuracy left to a network that errs on such labels only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import ROOT, write_evidence
from benchmarks.literature.crossval import COLUMNS
from edge_malaria.crossval.report import pooled
from edge_malaria.crossval.results import FoldResult, read_result
from edge_malaria.crossval.task import int8_on_litert
from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_image
from edge_malaria.keras_layers import load_model
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    default_cache,
    load_renderings,
)

SURE, LIKELY = 0.95, 0.5
GREEN = (0, 255, 0)


def finished(run: Path) -> list[FoldResult]:
    """The folds that ``run`` holds predictions of."""
    return [read_result(path) for path in sorted(run.glob("fold*/predictions.npz"))]


def against(
    chances: NDArray[np.float64], labels: NDArray[np.int64], level: float = SURE
) -> NDArray[np.bool_]:
    """Which labels are contradicted with p > ``level``; the last axis holds the cells."""
    return np.where(labels == 1, 1.0 - chances, chances) > level


def every_opinion(run: Path, results: list[FoldResult], cells: CellSet) -> NDArray[np.float64]:
    """Calibrated probabilities of every fold's network for every cell, float64 [folds, N]."""
    rows = []
    for result in results:
        network = int8_on_litert(load_model(run / f"fold{result.fold}" / "model.keras"))
        rows.append(probability(network(cells.inputs), result.temperature, result.bias))
    return np.stack(rows)


def page(cells: CellSet, shown: NDArray[np.bool_], path: Path) -> None:
    """The cells of ``shown``, labelled infected first, a green line between."""
    size = cells.inputs.shape[1]
    line = np.full((6, COLUMNS * size, 3), GREEN, np.uint8)
    rows = []
    for label in (1, 0):
        group = np.flatnonzero(shown & (cells.labels == label))
        for start in range(0, len(group), COLUMNS):
            row = np.zeros((size, COLUMNS * size, 3), np.uint8)
            for place, index in enumerate(group[start : start + COLUMNS]):
                row[:, place * size : (place + 1) * size] = cells.inputs[index]
            rows.append(row)
        rows.append(line)
    write_image(path, np.concatenate(rows))


def shares(
    wrong: NDArray[np.bool_], own: NDArray[np.bool_], every: NDArray[np.bool_], cells: CellSet
) -> dict[str, Any]:
    """What the errors consist of."""
    errors = max(1, int(wrong.sum()))
    suspect = wrong & every & cells.suspect
    return {
        "cells": len(wrong),
        "errors": int(wrong.sum()),
        "accuracy": float(1.0 - wrong.mean()),
        "share_of_errors": {
            "on the published list of doubtful labels": float(
                (wrong & cells.suspect).sum() / errors
            ),
            "contradicted by the fold's own network": float((wrong & own).sum() / errors),
            "contradicted by every fold's network": float((wrong & every).sum() / errors),
            "contradicted by every fold's network and on the list": float(suspect.sum() / errors),
        },
        "labels_contradicted_by_every_network": int(every.sum()),
        "of_them_on_the_list": float(cells.suspect[every].mean()) if every.any() else None,
        "accuracy_if_only_those_on_both_lists_were_errors": float(
            1.0 - (every & cells.suspect).mean()
        ),
        "accuracy_if_those_errors_were_label_errors": float(1.0 - (wrong & ~suspect).mean()),
        "accuracy_if_every_error_on_the_list_were_one": float(
            1.0 - (wrong & ~cells.suspect).mean()
        ),
    }


def main() -> None:
    """Measures what is there and writes it, with the page into the run's directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    given = parser.parse_args()
    dataset = open_dataset(given.data / "nih" / "cell_images.zip")
    results = finished(given.run)
    if not results:
        parser.error(
            f"{given.run} holds no finished fold: run benchmarks.literature.crossval first"
        )
    size = int(load_model(given.run / f"fold{results[0].fold}" / "model.keras").input_shape[1])
    whole = load_renderings(dataset, size, RENDERINGS, cache=default_cache())["full"]
    table = pooled(results, whole)
    seen = table["seen"]
    cells = whole.take(seen)
    wrong = table["called"][seen] != (cells.labels == 1)
    own = against(table["chance"][seen], cells.labels)
    opinions = every_opinion(given.run, results, cells)
    every = np.asarray(against(opinions, cells.labels).all(axis=0))
    likely = np.asarray(against(opinions, cells.labels, LIKELY).all(axis=0))
    page(cells, wrong & every, given.run / "contradicted-by-every-fold.png")
    page(cells, wrong & likely, given.run / "contradicted-by-every-fold-likely.png")
    figures = {
        "folds": [result.fold for result in results],
        "sure_above": SURE,
        **shares(wrong, own, every, cells),
        "likely_contradicted": shares(
            wrong, against(table["chance"][seen], cells.labels, LIKELY), likely, cells
        ),
    }
    command = 'python -m benchmarks.cells.contradictions --data "$EDGE_MALARIA_DATA" --run RUN'
    path = write_evidence("label_contradictions", command, figures, 0)
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
