"""Probabilities of cells that a bundle asks again: in eight views, or of a second network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.classify.flagged_views import mean_logits
from edge_malaria.runtime.classify.second_network import on_first_scale
from edge_malaria.training.classifier.cells import CellSet

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
    # Keras loads for seconds, and whoever only reads answers that are stored needs none.
    from edge_malaria.training.classifier.fit import predict

    return mean_logits(inputs, lambda batch: predict(model, batch), first)


class Asking(Protocol):
    """How flagged cells are asked again."""

    @property
    def asked_from(self) -> float | None:
        """Probability from which on; None for the balanced point."""
        ...

    def logits(
        self, cells: CellSet, first: NDArray[np.float32], calibration: tuple[float, float]
    ) -> NDArray[np.float32]:
        """What decides about each of the cells if it is asked again.

        Args:
            cells: N of them.
            first: float32 [N], the network's logits.
            calibration: (temperature, bias) of that network.

        Returns:
            float32 [N] on the scale of ``first``.
        """
        ...


@dataclass(frozen=True, eq=False)
class EightViews:
    """The network itself is shown each cell in eight views."""

    network: Any
    asked_from: None = None

    def logits(
        self, cells: CellSet, first: NDArray[np.float32], calibration: tuple[float, float]
    ) -> NDArray[np.float32]:
        """See ``Asking``."""
        return averaged_logits(self.network, cells.inputs, first)


@dataclass(frozen=True, eq=False)
class SecondNetwork:
    """Another network answers.

    Attributes:
        network: one logit a cell.
        calibration: its (temperature, bias).
        asked_from: probability of the first network from which on it is asked.
    """

    network: Any
    calibration: tuple[float, float]
    asked_from: float

    def logits(
        self, cells: CellSet, first: NDArray[np.float32], calibration: tuple[float, float]
    ) -> NDArray[np.float32]:
        """See ``Asking``."""
        own, scale = (DecisionRecord(t, b) for t, b in (self.calibration, calibration))
        from edge_malaria.training.classifier.fit import predict

        return on_first_scale(predict(self.network, cells.inputs), own, scale)


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of each cell, at first and when it is asked again.

    Attributes:
        first: float64 [N], probabilities from the first answer.
        again: float64 [N], from the mean logit of eight views or from the second network; None
            where no cell is asked again.
        asked_from: probability from which on cells are asked again; None for the balanced point
            (eight views, ``classify.flagged_views``).
    """

    first: Floats
    again: Floats | None = None
    asked_from: float | None = None

    @classmethod
    def of_logits(
        cls,
        first: NDArray[np.float32],
        again: NDArray[np.float32] | None,
        calibration: tuple[float, float],
        asked_from: float | None = None,
    ) -> Answers:
        """From logits float32 [N], all on one scale, and its (temperature, bias)."""
        told = None if again is None else probability(again, *calibration)
        return cls(probability(first, *calibration), told, asked_from)

    @property
    def lowest(self) -> Floats:
        """float64 [N]: at or above a balanced point t where the cell is called at t.

        A cell that is asked again from t on is called there where both answers reach t.
        """
        if self.again is None:
            return self.first
        if self.asked_from is not None:
            return self.settled(self.asked_from)
        return np.minimum(self.first, self.again)

    def settled(self, balanced: float) -> Floats:
        """float64 [N]: what decides.

        ``balanced``: from which on cells are asked again where ``asked_from`` does not say.
        """
        if self.again is None:
            return self.first
        start = balanced if self.asked_from is None else self.asked_from
        return np.where(self.first >= start, self.again, self.first)
