"""Slides resampled from real cells of known truth, for the evidence of verdicts and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.counts import ReviewCount, SlideCount, VerdictRules

Whole = NDArray[np.int64]
# An infected patient lends slides an own sensitivity only from so many parasitized cells on: of one
# or three cells it would be 0 or 1 by chance.
LEAST_PARASITIZED = 20


@dataclass(frozen=True)
class Points:
    """Thresholds of a run: screening, flagging (balanced), borderline."""

    screening: float
    balanced: float
    borderline: float = VerdictRules().doubtful_from


@dataclass(frozen=True)
class Reader:
    """A simulated person: shares of flagged parasites and of other flagged cells confirmed."""

    name: str
    sensitivity: float
    false_confirmation: float


READERS = (
    Reader("perfect", 1.0, 0.0),
    Reader("careful", 0.95, 0.001),
    Reader("hasty", 0.95, 0.01),
)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Some slides of one kind; int64 arrays [M].

    Attributes:
        cells: of each slide; truth: parasites among them.
        positive, borderline, flagged: counts.
        flagged_parasites, positive_parasites: parasites among the flagged, the positive ones.
    """

    cells: int
    truth: Whole
    positive: Whole
    borderline: Whole
    flagged: Whole
    flagged_parasites: Whole
    positive_parasites: Whole

    def count(self, place: int) -> SlideCount:
        """What the statistics need of one slide."""
        return SlideCount(
            self.cells,
            int(self.positive[place]),
            int(self.borderline[place]),
            int(self.flagged[place]),
        )

    def read(self, reader: Reader, rng: np.random.Generator) -> tuple[Whole, Whole]:
        """Flagged cells that a reader confirms on each slide, and the positive ones of them."""

        def confirmed(parasites: Whole, cells: Whole) -> Whole:
            right = rng.binomial(parasites, reader.sensitivity)
            wrong = rng.binomial(cells - parasites, reader.false_confirmation)
            return np.asarray(right + wrong, np.int64)

        strong = confirmed(self.positive_parasites, self.positive)
        weak = confirmed(
            self.flagged_parasites - self.positive_parasites, self.flagged - self.positive
        )
        return strong + weak, strong

    def review(self, place: int, confirmed: int, positive: int) -> ReviewCount:
        """The review of one slide by one reader, who confirms ``positive`` of the positive ones."""
        flagged = int(self.flagged[place])
        return ReviewCount(
            flagged,
            flagged,
            confirmed,
            flagged - confirmed,
            confirmed_by=min(confirmed, 1),
            confirmed_upper=positive,
            readers=("R",),
        )


def shares(chances: Floats, points: Points) -> Floats:
    """Shares of cells: positive; flagged, not positive; borderline, not flagged; clear.

    Borderline are cells from ``points.borderline`` to the screening threshold, flagged or not.
    """
    edges = (points.screening, points.balanced, min(points.borderline, points.balanced))
    above = np.array([float((chances >= edge).mean()) for edge in edges])
    return np.maximum(np.diff(np.concatenate([[0.0], above, [1.0]])), 0.0)


def draw(
    rng: np.random.Generator,
    slides: int,
    cells: int,
    parasitemia: float,
    healthy: Sequence[Floats],
    parasitized: Sequence[Floats],
    points: Points,
) -> Drawn:
    """Slides whose healthy cells come from one slide and whose parasites from one patient each."""
    calm = np.array([shares(p, points) for p in healthy])[rng.integers(len(healthy), size=slides)]
    sick = np.array([shares(p, points) for p in parasitized])
    sick = sick[rng.integers(len(parasitized), size=slides)]
    truth = rng.binomial(cells, parasitemia, size=slides)
    well, ill = rng.multinomial(cells - truth, calm), rng.multinomial(truth, sick)
    both = well + ill
    # With a flagging threshold below that of borderline cells, no flagged cell is left out.
    borderline = both[:, 1] + both[:, 2]
    flagged, found = both[:, 0] + both[:, 1], ill[:, 0] + ill[:, 1]
    return Drawn(cells, truth, both[:, 0], borderline, flagged, found, ill[:, 0])


def usable(patients: Mapping[str, Floats]) -> list[Floats]:
    """Patients with enough parasitized cells."""
    return [p for p in patients.values() if len(p) >= LEAST_PARASITIZED]
