"""Persons who look at flagged cells: what their confirmed cells say of the slide."""

from __future__ import annotations

import numpy as np

from edge_malaria.records import Interval
from edge_malaria.runtime.slide.beta_binomial import RateFit, RateSpread, binomial_sf
from edge_malaria.runtime.slide.error_record import PointErrors
from edge_malaria.runtime.slide.operating_point import PointModel

# A reader confirms 95 of 100 flagged cells that do hold a parasite, one reader 83, another all of
# them (Beta(19, 1)), and one of 1,000 flagged cells that hold none. Assumed, not measured: readers
# of pictures of single cells have not been tested with this program.
READER_SENSITIVITY = (19.0, 1.0)
READER_FALSE_CONFIRMATION = 0.001
# How often mistaken confirmations alone may reach the number that means parasites.
MISTAKEN_LEVEL = 0.01
_NODES, _SENSITIVITY_NODES = 8, 24


def confirmations_needed(flagged: int, least: int) -> int:
    """How many confirmed cells mean parasites where so many were looked at.

    At least ``least``; more where a reader who is wrong on one flagged cell of 1,000 would reach
    that by mistakes alone on more than one slide of 100.
    """
    needed = least
    while needed < flagged:
        mistaken = float(binomial_sf(needed, flagged, READER_FALSE_CONFIRMATION))
        if mistaken <= MISTAKEN_LEVEL:
            break
        needed += 1
    return needed


class ReaderModel:
    """Counts of confirmed cells: flagged by the balanced point, then confirmed by a person.

    Args:
        errors: of the point that flags.

    Attributes:
        flagged_share: of healthy cells that are flagged, on average.
    """

    def __init__(self, errors: PointErrors) -> None:
        confirms = RateFit(*READER_SENSITIVITY, 0, 0).spread().thinned(_NODES)
        rates = np.outer(errors.sensitivity.rates, confirms.rates).ravel()
        weights = np.outer(errors.sensitivity.weights, confirms.weights).ravel()
        order = np.argsort(rates, kind="stable")
        found = RateSpread(rates[order], weights[order]).thinned(_SENSITIVITY_NODES)
        self.point = PointModel(PointErrors(errors.eps.scaled(READER_FALSE_CONFIRMATION), found))
        self.flagged_share = errors.eps.mean
        self._limits: dict[tuple[int, int], float | None] = {}

    def limit_of_detection(self, cells: int, confirmed: int) -> float | None:
        """The lowest parasitemia at which so many cells are confirmed on 95 of 100 slides."""
        if cells == 0:
            return None
        if (cells, confirmed) not in self._limits:
            found = self.point.limit_of_detection(confirmed, cells)
            self._limits[cells, confirmed] = found
        return self._limits[cells, confirmed]

    def measured(
        self, cells: int, confirmed: int, unanswered: int
    ) -> tuple[float | None, Interval]:
        """Parasitemia by the confirmed cells, corrected for what flagging and reading miss.

        Args:
            cells: counted, above 0.
            confirmed: by a reader.
            unanswered: flagged cells on which no answer stands; each may hold a parasite, so the
                upper end takes them for confirmed.
        """
        low, high = self.point.interval(confirmed, cells)
        if unanswered:
            high = self.point.interval(confirmed + unanswered, cells)[1]
        return self.point.estimate(confirmed, cells), (low, high)
