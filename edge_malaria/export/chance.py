"""Is a network better than chance? Asked of its answers to cells whose truth is known.

A sigmoid read as a logit calls every cell parasitized, and turned classes call each the other way;
both convert perfectly. However few the cells, an exact test says whether their calls show anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_malaria import metrics
from edge_malaria.errors import GateFailed

# From so many cells of each class on, calls that show nothing refuse the network.
ENOUGH = 50
# A network that answers every cell within this of a logit tells cells apart by nothing.
_CONSTANT_LOGIT = 1e-3
# One side of a two-sided test at 95 %.
_LEVEL = 0.025


@dataclass(frozen=True)
class Calls:
    """What a network calls cells of known truth.

    Attributes:
        cells: which cells, for a message.
        sick, well: how many there are of each class.
        sick_called, well_called: how many of them are called parasitized.
        auc: of the logits, 0-1.
    """

    cells: str
    sick: int
    well: int
    sick_called: int
    well_called: int
    auc: float

    @property
    def sensitivity(self) -> float:
        """Share of the parasitized cells that are called, 0-1."""
        return self.sick_called / self.sick

    @property
    def specificity(self) -> float:
        """Share of the other cells that are not called, 0-1."""
        return 1.0 - self.well_called / self.well

    @property
    def better_than_chance(self) -> bool:
        """Whether these calls alone show it, by two tests at 95 %.

        Parasitized cells are called more often than others (Fisher's exact test), and the balanced
        accuracy lies two standard errors above that of a fair coin. The second refuses a network
        that calls nearly all cells alike, however many they are.
        """
        p = metrics.fisher_exact(self.sick_called, self.sick, self.well_called, self.well)
        error = 0.5 * np.sqrt(0.25 / self.sick + 0.25 / self.well)
        balanced = (self.sensitivity + self.specificity) / 2.0
        return bool(p <= _LEVEL and balanced > 0.5 + 2.0 * error)

    @property
    def inverted(self) -> bool:
        """Whether healthy cells have the larger logits, beyond chance."""
        # Standard error of the AUC of a coin (Hanley and McNeil 1982).
        error = np.sqrt((self.sick + self.well + 1) / (12.0 * self.sick * self.well))
        p = metrics.fisher_exact(self.well_called, self.well, self.sick_called, self.sick)
        turned = self.auc < 0.5 and p <= _LEVEL
        return turned or not (self.auc >= 0.5 - 2.0 * error)

    @property
    def needed(self) -> int:
        """Cells of each class that would settle it, called as these are; at most ``ENOUGH``."""
        for count in range(1, ENOUGH):
            sick_called = int(self.sensitivity * count + 1e-9)
            well_called = count - int(self.specificity * count + 1e-9)
            more = Calls(self.cells, count, count, sick_called, well_called, self.auc)
            if more.better_than_chance:
                return count
        return ENOUGH

    @property
    def rates(self) -> str:
        """For a message."""
        return (
            f"sensitivity {self.sensitivity:.3f}, specificity {self.specificity:.3f}, AUC "
            f"{self.auc:.3f} on {self.cells}"
        )


def check_calls(
    logits: NDArray[np.float32], truth: NDArray[np.bool_], threshold: float, cells: str
) -> Calls:
    """Counts the calls, and refuses a network that cannot be right.

    Few cells may leave it open: see ``Calls.better_than_chance``.

    Args:
        logits: float32 [N].
        truth: bool [N].
        threshold: logit at and above which a cell is called.
        cells: which cells, for the message.

    Raises:
        GateFailed: cells of one class only, a constant answer, turned classes, or, on ``ENOUGH``
            cells of each class, calls no better than chance.
    """
    if not (truth.any() and not truth.all()):
        raise GateFailed(f"{cells} are of one class: they cannot show that anything works.")
    if not (np.isfinite(logits).all() and float(np.ptp(logits)) > _CONSTANT_LOGIT):
        raise GateFailed(f"the network gives every cell the same answer ({cells}): untrained?")
    found = metrics.auc(truth, logits.astype(np.float64))
    called = logits >= threshold
    calls = Calls(
        cells,
        int(truth.sum()),
        int((~truth).sum()),
        int(called[truth].sum()),
        int(called[~truth].sum()),
        float("nan") if found is None else float(found),
    )
    if calls.inverted:
        raise GateFailed(
            f"looks inverted: AUC {calls.auc:.3f} on {cells}; is it --classes with the two names "
            "turned?"
        )
    if min(calls.sick, calls.well) >= ENOUGH and not calls.better_than_chance:
        one_way = called.all() or not called.any()
        how = "every cell is called alike" if one_way else "no better than chance"
        raise GateFailed(
            f"{how}: {calls.rates}; is --input-range or --output another, or the network untrained?"
        )
    return calls
