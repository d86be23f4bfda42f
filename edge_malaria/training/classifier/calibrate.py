"""Probabilities and operating points, chosen on validation and cross-fitted patients only.

Temperature and bias: Platt scaling (Platt 1999) of the int8-ready network's logits on the
validation patients. Balanced point: where Matthews' coefficient is best there. Screening point: the
probability that leaves the target share of false positives among healthy patients' cells, from
networks that had not seen the patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DatasetError
from edge_malaria.metrics import confusion
from edge_malaria.records import expect
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.classify.flagged_views import VIEWS
from edge_malaria.runtime.slide.statistics import choose_screening_threshold, fit_false_positives
from edge_malaria.training.classifier.asked_again import Answers

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]

# Three quarters of the 0.2 % that a healthy patient's slide may show at the screening point.
# Between 0.1 % and this the same cells of the healthy patients are called, and a sixth more
# parasites.
SCREENING_FALSE_POSITIVES = 0.0015


def fit_platt(logits: Logits, labels: Labels, steps: int = 50) -> tuple[float, float]:
    """(temperature, bias) so that sigmoid((logit + bias) / temperature) is calibrated.

    Newton's method on the log-likelihood with Platt's smoothed targets, which keep a separable set
    finite.

    Args:
        logits: float32 [N] of patients the network was not fitted to.
        labels: int64 [N].
        steps: of Newton's method, at most.

    Raises:
        DatasetError: one class is missing, or the scores do not rise with the label.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        raise DatasetError("calibration needs validation cells of both classes.")
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.column_stack([logits.astype(np.float64), np.ones(len(logits))])
    # From slope 0 the full Newton step is halved until it helps: it never runs into saturation.
    theta = np.zeros(2)
    for _ in range(steps):
        chance = probability((design @ theta).astype(np.float32))
        gradient = design.T @ (chance - targets)
        weights = chance * (1.0 - chance)
        hessian = design.T @ (design * weights[:, None]) + 1e-9 * np.eye(2)
        change = np.linalg.solve(hessian, gradient)
        before = _log_loss(design @ theta, targets)
        while (
            _log_loss(design @ (theta - change), targets) > before and np.abs(change).max() > 1e-9
        ):
            change = change / 2.0
        theta = theta - change
        if np.abs(change).max() < 1e-8:
            break
    if not (theta[0] > 1e-3):
        raise DatasetError("calibration failed: logits do not rise with the label.")
    return float(1.0 / theta[0]), float(theta[1] / theta[0])


def bake(model: Any, temperature: float, bias: float) -> None:
    """Moves a calibration into the last dense layer: the logits become (logit + bias) / T.

    Args:
        model: a network that ends in one dense logit; changed in place.
        temperature: from ``fit_platt``.
        bias: from ``fit_platt``.
    """
    kernel, offset = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / temperature, (offset + bias) / temperature])


def _log_loss(z: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0.0, z) - targets * z))


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
        threshold = _screening(cells, kept if kept.any() else healthy)
        own = healthy & (cells.patients == name)
        counted["false_positives"].append(_count(cells, own, name, threshold))
    threshold = _screening(cells, healthy)
    for name in sorted(set(cells.patients[cells.labels == 1].tolist())):
        own = (cells.patients == name) & (cells.labels == 1)
        counted["sensitivity"].append(_count(cells, own, name, threshold))
    return counted


def _screening(cells: CrossFitted, chosen: NDArray[np.bool_]) -> float:
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


def decision(
    val: tuple[Logits, Labels, NDArray[np.str_]],
    calibration: tuple[float, float],
    crossed: CrossFitted,
    abstention: dict[str, Any],
    how: str,
    again: Logits | None = None,
    asked_from: float | None = None,
) -> dict[str, Any]:
    """The decision block of a bundle: calibration, operating points, false positives.

    Args:
        val: logits, labels and patients of validation cells, from the network that ships.
        calibration: (temperature, bias) of that network.
        crossed: cells of train and val patients with networks that had not seen them.
        abstention: see ``runtime.classify.Decision``.
        how: where ``crossed`` comes from, for the record.
        again: of the validation cells, where flagged ones are to be asked again: the mean logits of
            eight views, or the second network's on the scale of the first; ``crossed`` then has
            its own.
        asked_from: probability from which on the second network is asked; None for eight views.

    Raises:
        DatasetError: no uninfected cell among ``crossed``.
        ValueError: ``again`` without those of ``crossed``.
    """
    logits, labels, patients = val
    if not crossed.healthy.any():
        raise DatasetError("the screening threshold needs uninfected cells.")
    if not crossed.has_healthy_patients:
        how += "; without healthy patients, uninfected cells of infected ones stand in"
    own = Answers.of_logits(logits, again, calibration, asked_from)
    balanced, mcc = best_threshold(own.lowest, labels)
    infected = (crossed.labels == 1) & np.isin(crossed.patients, patients)
    chances = own.settled(balanced)
    crossed, crossed_balanced = settled(crossed, own, labels, patients)
    crossed_infected, own_infected = crossed.chances[infected], chances[labels == 1]
    crossed_screening = _screening(crossed, crossed.healthy)
    screening = same_sensitivity(crossed_screening, crossed_infected, own_infected)
    screening = float(round(max(screening, balanced), 5))
    counts = cross_fitted_counts(crossed)
    return {
        "temperature": round(calibration[0], 6),
        "bias": round(calibration[1], 6),
        **_asking(again is not None, asked_from),
        "operating_points": {
            "balanced": {
                "threshold": balanced,
                "chosen": f"best Matthews coefficient on validation patients ({mcc:.4f})",
                "val": _rates(chances, labels, balanced),
            },
            "screening": {
                "threshold": screening,
                "chosen": (
                    f"at most {SCREENING_FALSE_POSITIVES:.2%} of a healthy patient's cells "
                    "positive on average in the cross-fitted networks, carried over at equal "
                    "sensitivity on validation patients; never below balanced"
                ),
                "val": _rates(chances, labels, screening),
            },
        },
        **_false_positives(counts, how, (balanced, counts_at(crossed, crossed_balanced))),
        "abstention": abstention,
    }


def _asking(asks: bool, asked_from: float | None) -> dict[str, Any]:
    if not asks:
        return {}
    return {"flagged_views": VIEWS} if asked_from is None else {"second": {"from": asked_from}}


def _rates(chances: NDArray[np.float64], labels: Labels, threshold: float) -> dict[str, float]:
    called = chances >= threshold
    return {
        "sensitivity": round(float(called[labels == 1].mean()), 5),
        "specificity": round(float((~called[labels == 0]).mean()), 5),
    }


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


def _false_positives(
    counts: dict[str, list[tuple[str, int, int]]],
    how: str,
    balanced: tuple[float, dict[str, list[tuple[str, int, int]]]],
) -> dict[str, Any]:
    """The ``false_positives`` entry; none where a spread between patients cannot be fitted.

    ``quantity`` inside it holds the same at the balanced point, (threshold, counts).
    """
    healthy, infected = counts["false_positives"], counts["sensitivity"]
    if len(healthy) < 2:
        return {}
    fit = fit_false_positives(
        [(positives, cells) for _, positives, cells in healthy],
        [(positives, cells) for _, positives, cells in infected],
    )
    threshold, likely = balanced
    quantity = fit_false_positives(
        [(positives, cells) for _, positives, cells in likely["false_positives"]],
        [(positives, cells) for _, positives, cells in likely["sensitivity"]],
    )
    return {
        "false_positives": {
            **fit.as_json(),
            "quantity": {"threshold": threshold, **quantity.as_json()},
            "operating_point": "screening",
            "positives": sum(row[1] for row in healthy),
            "per_patient": [list(row) for row in healthy],
            "how": how,
        }
    }
