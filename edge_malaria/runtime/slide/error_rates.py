"""How often a classifier errs on patients it has not seen: the fit behind every verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import expect
from edge_malaria.runtime.slide.beta_binomial import RateFit, fit_rates


@dataclass(frozen=True)
class FalsePositiveFit:
    """How often the classifier errs on patients it has not seen, at one operating point.

    Attributes:
        false_positives: share of healthy patients' cells called parasitized.
        misses: share of parasitized cells not called so; None where it was not measured.
        quantity: the same at the balanced point, which misses fewer parasites: it measures how
            many there are once it is clear that there are some.
        quantity_threshold: the balanced point's probability.
    """

    false_positives: RateFit
    misses: RateFit | None = None
    quantity: FalsePositiveFit | None = None
    quantity_threshold: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The bundle's form: the false positives' beta, ``sensitivity`` beside it."""
        record = self.false_positives.as_json()
        if self.misses is not None:
            m = self.misses
            record["sensitivity"] = {
                "alpha": m.beta,
                "beta": m.alpha,
                "mean": 1 - m.mean,
                "patients": m.patients,
                "cells": m.cells,
                "counts": [[n - k, n] for k, n in m.counts],
            }
        if self.quantity is not None:
            record["quantity"] = {
                "threshold": self.quantity_threshold,
                **self.quantity.as_json(),
            }
        return record

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FalsePositiveFit:
        """The inverse of ``as_json``."""
        misses = None
        found = value.get("sensitivity")
        if found:
            hits = RateFit.from_json(found)
            misses = RateFit(
                hits.beta,
                hits.alpha,
                hits.patients,
                hits.cells,
                tuple((n - k, n) for k, n in hits.counts),
            )
        quantity, threshold = None, None
        if value.get("quantity"):
            quantity = cls.from_json(value["quantity"])
            threshold = float(value["quantity"]["threshold"])
        return cls(RateFit.from_json(value), misses, quantity, threshold)


def fit_false_positives(
    per_patient_counts: Sequence[tuple[int, int]],
    sensitivity_counts: Sequence[tuple[int, int]] = (),
) -> FalsePositiveFit:
    """Fits the spread of errors between patients.

    Args:
        per_patient_counts: (positives, cells) of each healthy patient, cross-fitted: each at a
            threshold and from a network that had not seen the patient.
        sensitivity_counts: (positives, parasitized cells) of each infected patient, likewise.
    """
    misses = [(n - k, n) for k, n in sensitivity_counts if n > 0]
    return FalsePositiveFit(
        fit_rates(per_patient_counts), fit_rates(misses) if len(misses) >= 2 else None
    )


def choose_screening_threshold(
    scores: NDArray[np.float64], patients: Sequence[str], share: float = 0.001
) -> float:
    """The probability above which healthy patients' cells are rarely called parasitized.

    Every patient weighs the same, so that a slide with many cells does not decide for the others.

    Args:
        scores: float64 [N], probabilities of healthy patients' cells (train or val only), from
            networks that had not seen the patient.
        patients: their ids, N of them.
        share: mean share of a patient's cells that may lie above, 0-1.

    Returns:
        The threshold, 0.5-0.9999.
    """
    expect(len(scores) == len(patients) > 0, "a patient for each score", len(patients))
    _, group = np.unique(np.asarray(patients), return_inverse=True)
    sizes = np.bincount(group)
    weight = 1.0 / (sizes[group] * len(sizes))
    order = np.argsort(scores)[::-1]
    above = np.cumsum(weight[order])
    allowed = int(np.searchsorted(above, share, side="right"))
    ordered = scores[order]
    limit = ordered[min(allowed, len(ordered) - 1)]
    upper = ordered[allowed - 1] if allowed else 1.0
    return float(np.clip((limit + upper) / 2, 0.5, 0.9999))
