"""Figures without suspect labels stand beside the headline and do not touch it."""

from __future__ import annotations

import numpy as np

from edge_malaria.data.dataset import Row
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.suspects import val_figures

DECISION = {
    "temperature": 1.0,
    "bias": 0.0,
    "operating_points": {"balanced": {"threshold": 0.5}, "screening": {"threshold": 0.99}},
}


def brightness(pixels: np.ndarray, training: bool) -> np.ndarray:
    assert not training
    return (pixels.mean((1, 2, 3)) - 100.0)[:, None] / 10.0


def test_suspects_leave_the_headline_alone() -> None:
    # Cells 2 and 5 are called wrongly; cell 5's label is suspect.
    light = np.array([150, 140, 60, 50, 40, 160], np.uint8)
    labels = np.array([1, 1, 1, 0, 0, 0])
    rows = tuple(Row(f"{n}.png", int(label), suspect=n == 5) for n, label in enumerate(labels))
    inputs = np.broadcast_to(light[:, None, None, None], (6, 4, 4, 3)).copy()
    found = val_figures(brightness, DECISION, CellSet(inputs, labels, rows))
    assert found["n"] == 6 and found["accuracy"] == 4 / 6
    clean = found["without_suspect_labels"]
    assert clean["n"] == 5 and clean["accuracy"] == 4 / 5
    assert found["sensitivity"] == clean["sensitivity"] == 2 / 3
    assert clean["specificity"] == 1.0 and found["specificity"] == 2 / 3
    strict = val_figures(brightness, DECISION, CellSet(inputs, labels, rows), "screening")
    assert strict["sensitivity"] == 1 / 3
