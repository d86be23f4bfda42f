"""Error rates in three levels: laboratories, slides, cells; on numpy alone.

A classifier errs at another rate in every laboratory (stain, camera, smear), and within one on
every slide. Of a slide's n cells k are called wrongly: k ~ Binomial(n, e). The logit of e is drawn
around its laboratory's mean with the laboratory's own spread between slides; the laboratories'
means are drawn around a common one (logistic-normal, twice). Everything unknown (common mean,
spread between laboratories, usual spread between slides, each laboratory's mean and spread) lies
on grids and is averaged over, so that few laboratories or few slides make wide predictions.

``benchmarks.slides.error_families`` compares this family with beta distributions and with a
non-parametric one on laboratories left out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from edge_malaria.records import expect
from edge_malaria.runtime.slide.beta_binomial import Floats, RateSpread, log_gamma

Family = Literal["logistic-normal", "beta"]

# Logits of rates: 1 in 1,200,000 to 98 %.
RATE_LOGITS = np.arange(-14.0, 4.01, 0.06)
_MEANS = np.arange(-13.5, 3.51, 0.1)
_SPREADS = np.geomspace(0.08, 2.6, 10)
_COMMON_MEANS = np.arange(-13.0, 3.01, 0.25)
_LABORATORY_SPREADS = np.geomspace(0.1, 3.5, 10)
_USUAL_SPREADS = np.geomspace(0.12, 1.6, 6)
# How far a laboratory's own spread lies from the usual one, as a factor's logarithm.
_SPREAD_OF_SPREADS = 0.5
# Half-normal prior of the laboratories' spread: factors of 4.5 between them are ordinary.
_PRIOR_LABORATORY_SPREAD = 1.5
_PRIOR_USUAL_SPREAD = 1.0

Counts = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LaboratoryCounts:
    """What was counted in one laboratory.

    Attributes:
        name: of the laboratory or data set.
        slides: (wrong calls, cells) of each slide or patient.
    """

    name: str
    slides: Counts

    def __post_init__(self) -> None:
        sound = all(0 <= k <= n for k, n in self.slides)
        expect(sound, "0 <= wrong calls <= cells", self.slides)

    @property
    def cells(self) -> int:
        """Cells of all slides."""
        return sum(n for _, n in self.slides)


class HierarchicalFit:
    """The posterior of one error rate over laboratories and slides.

    Args:
        laboratories: at least one, each with at least one slide with cells.
        family: how rates are spread; what ships uses the default.

    Raises:
        ValueError: nothing to fit.
    """

    def __init__(self, laboratories: Sequence[LaboratoryCounts], family: Family = "beta") -> None:
        self.laboratories = tuple(lab for lab in laboratories if lab.cells > 0)
        expect(len(self.laboratories) > 0, "at least one laboratory with cells", laboratories)
        self.family = family
        self._slides, self._labs = _kernels(family)
        distance = (np.log(_SPREADS) - np.log(_USUAL_SPREADS)[:, None]) / _SPREAD_OF_SPREADS
        usual = np.exp(-0.5 * distance**2)
        self._own: Floats = usual / usual.sum(1, keepdims=True)
        # [laboratory, spread, mean]: how well each explains the laboratory's counts.
        self._likelihood = [self._of_laboratory(lab) for lab in self.laboratories]
        # [laboratory, usual spread, laboratories' spread, common mean], logarithms.
        self._evidence = [self._of_common(one) for one in self._likelihood]
        prior = np.exp(-0.5 * (_LABORATORY_SPREADS / _PRIOR_LABORATORY_SPREAD) ** 2)
        between = np.exp(-0.5 * (_USUAL_SPREADS / _PRIOR_USUAL_SPREAD) ** 2) * _USUAL_SPREADS
        self._prior = np.log(between)[:, None, None] + np.log(prior * _LABORATORY_SPREADS)[:, None]

    def extended(self, laboratory: LaboratoryCounts) -> HierarchicalFit:
        """This fit with one more laboratory; what was computed is not computed again."""
        other = copy.copy(self)
        likelihood = self._of_laboratory(laboratory)
        other.laboratories = (*self.laboratories, laboratory)
        other._likelihood = [*self._likelihood, likelihood]
        other._evidence = [*self._evidence, self._of_common(likelihood)]
        return other

    def new_laboratory(self, without: str | None = None) -> RateSpread:
        """The rate on a slide of a laboratory of which nothing is known.

        Args:
            without: a laboratory whose counts are left out of the fit.
        """
        weights = self._weights(
            [i for i, lab in enumerate(self.laboratories) if lab.name != without]
        )
        means = np.einsum("utc,tcm->um", weights, self._labs)
        joint = means[:, None, :] * self._own[:, :, None]
        return self._spread(joint.sum(0))

    def of(self, name: str) -> RateSpread:
        """The rate on the next slide of a laboratory that is part of the fit.

        Raises:
            ValueError: no such laboratory.
        """
        names = [lab.name for lab in self.laboratories]
        expect(name in names, f"a laboratory of {names}", name)
        place = names.index(name)
        weights = self._weights([i for i in range(len(names)) if i != place])
        means = np.einsum("utc,tcm->um", weights, self._labs)
        joint = (means[:, None, :] * self._own[:, :, None]).sum(0) * self._likelihood[place]
        return self._spread(joint / joint.sum())

    def _of_laboratory(self, lab: LaboratoryCounts) -> Floats:
        pairs, times = np.unique(
            np.array([(k, n) for k, n in lab.slides if n > 0], np.float64),
            axis=0,
            return_counts=True,
        )
        k, n = pairs[:, :1], pairs[:, 1:]
        z = RATE_LOGITS
        chance = k * -np.logaddexp(0.0, -z) + (n - k) * -np.logaddexp(0.0, z)
        chance = np.exp(chance - chance.max(1, keepdims=True))
        slides = np.log(np.maximum(self._slides @ chance.T, 1e-300))
        total = slides @ times
        return np.asarray(np.exp(total - total.max()), np.float64)

    def _of_common(self, likelihood: Floats) -> Floats:
        seen = self._own @ likelihood
        return np.asarray(
            np.log(np.maximum(np.einsum("tcm,um->utc", self._labs, seen), 1e-300)), np.float64
        )

    def _weights(self, used: Sequence[int]) -> Floats:
        total = self._prior + np.zeros(
            (len(_USUAL_SPREADS), len(_LABORATORY_SPREADS), len(_COMMON_MEANS))
        )
        for index in used:
            total = total + self._evidence[index]
        weight = np.exp(total - total.max())
        return np.asarray(weight / weight.sum(), np.float64)

    def _spread(self, joint: Floats) -> RateSpread:
        mass = np.einsum("sm,smx->x", joint, self._slides)
        return RateSpread(1 / (1 + np.exp(-RATE_LOGITS)), mass / mass.sum())


def slide_log_score(spread: RateSpread, k: int, n: int) -> float:
    """ln P(k of n) under ``spread``: the held-out score of one slide."""
    rates = np.clip(spread.rates, 1e-12, 1 - 1e-12)
    choose = float(log_gamma(n + 1.0) - log_gamma(k + 1.0) - log_gamma(n - k + 1.0))
    chance = np.exp(choose + k * np.log(rates) + (n - k) * np.log1p(-rates))
    return float(np.log(max(float(spread.weights @ chance), 1e-300)))


@cache
def _kernels(family: Family) -> tuple[Floats, Floats]:
    return (
        _kernel(family, _MEANS, _SPREADS, RATE_LOGITS),
        _kernel(family, _COMMON_MEANS, _LABORATORY_SPREADS, _MEANS),
    )


def _kernel(family: Family, means: Floats, spreads: Floats, points: Floats) -> Floats:
    """[spread, mean, point], each row with sum 1: chance of each logit around each mean."""
    at, mean, spread = points[None, None], means[None, :, None], spreads[:, None, None]
    if family == "logistic-normal":
        log = -0.5 * ((at - mean) / spread) ** 2
    else:
        # A beta of that mean whose smaller shape is 1 / spread^2: on the logit scale of rare
        # errors it is spread about as widely as the normal one. The logit's Jacobian is p (1 - p).
        share = 1 / (1 + np.exp(-mean))
        small = np.minimum(share, 1 - share)
        total = 1 / spread**2 / small
        a, b = share * total, (1 - share) * total
        log = -a * np.logaddexp(0.0, -at) - b * np.logaddexp(0.0, at)
    density = np.exp(log - log.max(-1, keepdims=True))
    return np.asarray(density / density.sum(-1, keepdims=True), np.float64)
