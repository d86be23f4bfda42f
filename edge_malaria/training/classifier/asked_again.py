"""Probabilities of cells that a bundle asks again in eight views (``classify.flagged_views``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.classify.flagged_views import mean_logits
from edge_malaria.training.classifier.fit import predict

Floats = NDArray[np.float64]


def averaged_logits(model: Any, inputs: Image, first: NDArray[np.float32]) -> NDArray[np.float32]:
    """A Keras network's mean logit over eight views of every cell.

    Args:
        model: one logit a cell.
        inputs: uint8 [N, S, S, 3].
        first: float32 [N], its logits of ``inputs`` as they are.

    Returns:
        float32 [N].
    """
    return mean_logits(inputs, lambda batch: predict(model, batch), first)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says of each cell, at first and in eight views.

    Attributes:
        first: float64 [N], probabilities from the first answer.
        averaged: float64 [N], from the mean logit of eight views; None where none is asked again.
    """

    first: Floats
    averaged: Floats | None = None

    @classmethod
    def of_logits(
        cls,
        first: NDArray[np.float32],
        averaged: NDArray[np.float32] | None,
        calibration: tuple[float, float],
    ) -> Answers:
        """From logits float32 [N] and (temperature, bias)."""
        views = None if averaged is None else probability(averaged, *calibration)
        return cls(probability(first, *calibration), views)

    @property
    def lowest(self) -> Floats:
        """float64 [N]: at or above a balanced point t where the cell is called at t.

        A cell is called at the point from which on it is asked again where both answers reach it.
        """
        return self.first if self.averaged is None else np.minimum(self.first, self.averaged)

    def settled(self, balanced: float) -> Floats:
        """float64 [N]: what decides where cells are asked again from ``balanced`` on."""
        if self.averaged is None:
            return self.first
        return np.where(self.first >= balanced, self.averaged, self.first)
