"""The errors to expect on the next slide, as its statistics use them.

``error_record`` computes them from slides with known truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_malaria.runtime.slide.beta_binomial import RateSpread

# Grid points that stand for a spread: enough for 2.5 % tails (``RateSpread.thinned``).
_EPS_NODES, _SENSITIVITY_NODES = 48, 20


@dataclass(frozen=True, eq=False)
class PointErrors:
    """The errors to expect on the next slide at one threshold, thinned for computing.

    Attributes:
        eps: share of healthy cells called parasitized.
        sensitivity: share of parasitized cells called so.
    """

    eps: RateSpread
    sensitivity: RateSpread

    @classmethod
    def of(cls, eps: RateSpread, misses: RateSpread) -> PointErrors:
        """From the spreads of false calls and of misses, thinned."""
        return cls(eps.thinned(_EPS_NODES), misses.thinned(_SENSITIVITY_NODES).complement())

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` is the inverse."""
        return {
            key: {"rates": spread.rates.tolist(), "weights": spread.weights.tolist()}
            for key, spread in (("eps", self.eps), ("sensitivity", self.sensitivity))
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PointErrors:
        """The inverse of ``as_json``."""
        eps, sensitivity = (
            RateSpread(np.array(value[k]["rates"], float), np.array(value[k]["weights"], float))
            for k in ("eps", "sensitivity")
        )
        return cls(eps, sensitivity)


@dataclass(frozen=True, eq=False)
class SlideErrors:
    """All that a slide's statistics need to know of the classifier.

    Attributes:
        screening, balanced: the errors at the two points; balanced is None where unknown.
        laboratories, slides, cells: free of malaria, behind the false calls.
        parasitized: parasitized cells behind the sensitivity.
        site: the site profile's name; "" where none was used: the slide is then taken to come
            from a laboratory of which nothing is known.
        upper, upper_from: the errors at a point well above the flagging one, and its threshold: how
            many confirmed cells reach it tells how many parasites were not flagged. None where the
            screening point is that point.
        doubtful_base: the share of borderline cells usual at the site; None without a profile.
    """

    screening: PointErrors
    balanced: PointErrors | None
    laboratories: int
    slides: int
    cells: int
    parasitized: int = 0
    site: str = ""
    doubtful_base: float | None = None
    upper: PointErrors | None = None
    upper_from: float | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` is the inverse."""
        return {
            "screening": self.screening.as_json(),
            "balanced": None if self.balanced is None else self.balanced.as_json(),
            "laboratories": self.laboratories,
            "slides": self.slides,
            "cells": self.cells,
            "parasitized": self.parasitized,
            "site": self.site,
            "doubtful_base": self.doubtful_base,
            "upper": None if self.upper is None else self.upper.as_json(),
            "upper_from": self.upper_from,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlideErrors:
        """The inverse of ``as_json``."""
        points = {
            name: None if value.get(name) is None else PointErrors.from_json(value[name])
            for name in ("balanced", "upper")
        }
        return cls(**{**value, "screening": PointErrors.from_json(value["screening"]), **points})
