"""Operating points from networks that had not seen the patient, carried over to what ships.

Balanced point: where Matthews' coefficient is best on validation patients. Screening point: the
probability that leaves the target share of false positives among healthy patients' cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_malaria.metrics import confusion
from edge_malaria.records import expect
from edge_malaria.runtime.slide.statistics import choose_screening_threshold
from edge_malaria.training.classifier.asked_again import Answers

Labels = NDArray[np.int64]

# Three quarters of the 0.2 % that a healthy patient's slide may show at the screening point.
# Between 0.1 % and this the same cells of the healthy patients are called, and a sixth more
# parasites.
SCREENING_FALSE_POSITIVES = 0.0015


def best_threshold(chances: NDArray[np.float64], labels: Labels) -> tuple[float, float]:
    """(threshold, MCC) with the best Matthews coefficient.

    Thresholds within 0.001 of the best are as good as it is; their middle is the one that the next
    patients are least likely to contradict.
    """
    grid = np.linspace(0.02, 0.98, 193)
    scores = np.array([confusion(labels, chances >= t).mcc or -1.0 for t in grid])
    good = grid[scores >= scores.max() - 1e-3]
    return float(round(float(np.median(good)), 4)), float(scores.max())


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Logits of cells by networks that had not seen the cell's patient.

    Attributes:
        chances: float64 [N], calibrated probabilities.
        labels: int64 [N].
        patients: str [N].
        again: float64 [N], the same of cells that are asked again; needed where the bundle does.
    """

    chances: NDArray[np.float64]
    labels: Labels
    patients: NDArray[np.str_]
    again: NDArray[np.float64] | None = None

    @property
    def healthy(self) -> NDArray[np.bool_]:
        """bool [N]: cells of patients without a single parasitized cell.

        A data set without such patients lends the uninfected cells of the infected ones, whose
        labels are less certain; the record then says so.
        """
        apart = self.has_healthy_patients
        return self._of_healthy_patients() if apart else np.asarray(self.labels == 0)

    @property
    def has_healthy_patients(self) -> bool:
        """Whether any patient has no parasitized cell."""
        return bool(self._of_healthy_patients().any())

    def _of_healthy_patients(self) -> NDArray[np.bool_]:
        infected = np.unique(self.patients[self.labels == 1])
        return ~np.isin(self.patients, infected)


def cross_fitted_counts(
    cells: CrossFitted, parts: int = 5
) -> dict[str, list[tuple[str, int, int]]]:
    """(patient, positives, cells) at screening thresholds chosen without the patient.

    Healthy patients' cells give ``false_positives``, parasitized cells ``sensitivity``.
    """
    healthy = cells.healthy
    names = sorted(set(cells.patients[healthy].tolist()))
    counted: dict[str, list[tuple[str, int, int]]] = {"false_positives": [], "sensitivity": []}
    for index, name in enumerate(names):
        part = [other for place, other in enumerate(names) if place % parts == index % parts]
        kept = healthy & ~np.isin(cells.patients, part)
        if not kept.any():
            kept = healthy & (cells.patients != name)
        threshold = screening_threshold(cells, kept if kept.any() else healthy)
        own = healthy & (cells.patients == name)
        counted["false_positives"].append(_count(cells, own, name, threshold))
    threshold = screening_threshold(cells, healthy)
    for name in sorted(set(cells.patients[cells.labels == 1].tolist())):
        own = (cells.patients == name) & (cells.labels == 1)
        counted["sensitivity"].append(_count(cells, own, name, threshold))
    return counted


def screening_threshold(cells: CrossFitted, chosen: NDArray[np.bool_]) -> float:
    """The screening threshold by the healthy patients' cells ``chosen``, bool [N]."""
    patients = cells.patients[chosen].tolist()
    return choose_screening_threshold(cells.chances[chosen], patients, SCREENING_FALSE_POSITIVES)


def _count(
    cells: CrossFitted, own: NDArray[np.bool_], name: str, threshold: float
) -> tuple[str, int, int]:
    return name, int((cells.chances[own] >= threshold).sum()), int(own.sum())


def same_sensitivity(
    threshold: float, known: NDArray[np.float64], other: NDArray[np.float64]
) -> float:
    """The threshold on ``other`` that finds the same share of cells as ``threshold`` in ``known``.

    Two networks' probabilities do not compare far out in the tail, where the screening point lies;
    the share of the same parasitized cells that they find does.

    Args:
        threshold: on ``known``.
        known: float64 [N], one network's probabilities of parasitized cells.
        other: float64 [M], another network's, of cells of the same patients.
    """
    ordered = np.sort(other)[::-1]
    found = round(float(np.mean(known >= threshold)) * len(ordered))
    above = ordered[found - 1] if found else 1.0
    below = ordered[found] if found < len(ordered) else 0.0
    return float(np.clip((above + below) / 2.0, 1e-4, 1.0 - 1e-5))


def settled(
    crossed: CrossFitted, own: Answers, labels: Labels, patients: NDArray[np.str_]
) -> tuple[CrossFitted, float]:
    """(``crossed`` with the probabilities that decide, the balanced point of its networks).

    Args:
        crossed: with ``again`` where flagged cells are asked again.
        own: answers of the network that ships to the validation cells.
        labels: int64 [N] of those.
        patients: str [N] of those.

    Raises:
        ValueError: ``own`` holds answers of cells asked again and ``crossed`` does not.
    """
    told = None if own.again is None else crossed.again
    expect(own.again is None or told is not None, "cross-fitted cells asked again too", "none")
    balanced, _ = best_threshold(own.lowest, labels)
    other = Answers(crossed.chances, told, own.asked_from)
    infected = (crossed.labels == 1) & np.isin(crossed.patients, patients)
    theirs = same_sensitivity(balanced, own.lowest[labels == 1], other.lowest[infected])
    return replace(crossed, chances=other.settled(theirs)), theirs


def counts_at(cells: CrossFitted, threshold: float) -> dict[str, list[tuple[str, int, int]]]:
    """(patient, positives, cells) at one threshold: see ``cross_fitted_counts``."""
    groups = {"false_positives": cells.healthy, "sensitivity": cells.labels == 1}
    return {
        key: [
            _count(cells, group & (cells.patients == name), name, threshold)
            for name in sorted(set(cells.patients[group].tolist()))
        ]
        for key, group in groups.items()
    }
