"""Scores of NIH patients' cells by networks that had not seen the patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.slides.laboratory_scores import read_scores
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.runtime.classify.classifier import Classifier

Scores = dict[str, NDArray[np.float64]]


def bundle_scores(
    bundle: Bundle, data: Path, splits: Sequence[str] = ("val", "test")
) -> tuple[Scores, Scores]:
    """(healthy, infected): probabilities of the cells of each patient of ``splits``."""
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    classifier = Classifier(bundle, operating_point="screening")
    tables = SlideTables(dataset, classifier.target)
    grouped: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in dataset.rows:
        if row.split in splits and row.patient_id:
            grouped[row.patient_id, row.label].append(row)
    healthy: Scores = {}
    infected: Scores = {}
    for (patient, label), rows in grouped.items():
        batch = np.stack([tables.input(row) for row in rows])
        p = np.array([q.p_parasitized for q in classifier.predict_inputs(batch)])
        if patient.startswith("H"):
            healthy[patient] = p
        elif label == 1:
            infected[patient] = p
    return healthy, infected


def crossfit_scores(run: Path) -> tuple[Scores, Scores]:
    """(healthy, infected) from the scores that ``tools.fine_tune_laboratories`` left in ``run``."""
    scores = read_scores(run, "crossfit")
    healthy: Scores = {}
    infected: Scores = {}
    sick = np.char.startswith(scores.labels, "parasitized")
    for index, patient in enumerate(scores.names.tolist()):
        own = scores.picture == index
        if patient.startswith("H"):
            healthy[patient] = scores.chances[own]
        elif (own & sick).any():
            infected[patient] = scores.chances[own & sick]
    return healthy, infected


def crossval_scores(
    run: Path, data: Path, splits: set[str], *, plain: bool = False
) -> tuple[Scores, Scores]:
    """(healthy, infected) from a cross-validation's stored predictions over ``splits``.

    ``plain`` adds infected patients' plain cells to the healthy ones, but for those of suspect
    label: many of them hold a parasite.
    """
    from edge_malaria.crossval.results import read_result
    from edge_malaria.runtime.classify.classifier import probability

    every = open_dataset(data / "nih" / "cell_images.zip").rows
    rows = [row for row in every if row.split in splits]
    healthy: dict[str, list[float]] = defaultdict(list)
    infected: dict[str, list[float]] = defaultdict(list)
    for stored in sorted(run.glob("**/predictions.npz")):
        result = read_result(stored)
        chances = probability(result.logits, result.temperature, result.bias)
        for place, p in zip(result.held_out, chances, strict=True):
            row = rows[int(place)]
            if not row.patient_id:
                continue
            if row.patient_id.startswith("H"):
                healthy[row.patient_id].append(float(p))
            elif row.label == 1:
                infected[row.patient_id].append(float(p))
            elif plain and not row.suspect:
                healthy[row.patient_id].append(float(p))
    return (
        {k: np.array(v) for k, v in healthy.items()},
        {k: np.array(v) for k, v in infected.items()},
    )
