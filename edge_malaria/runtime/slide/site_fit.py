"""A site's own errors: fitted to slides of the place that another method found free of malaria.

A laboratory that takes up a method verifies it on its own samples. Here its slides become one more
laboratory of the error model: known false calls and their spread between the site's slides, instead
of those of a laboratory of which nothing is known. Thresholds are chosen for the site, and the
false calls of each slide are counted at thresholds that were chosen without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_malaria.errors import UsageError
from edge_malaria.runtime.slide.beta_binomial import RateSpread
from edge_malaria.runtime.slide.counts import VerdictRules
from edge_malaria.runtime.slide.error_record import ErrorRecord, LaboratoryScores, SlideScores
from edge_malaria.runtime.slide.expected_errors import PointErrors, SlideErrors
from edge_malaria.runtime.slide.hierarchy import HierarchicalFit, LaboratoryCounts
from edge_malaria.runtime.slide.operating_point import fewest_as_rare
from edge_malaria.runtime.slide.readers import usual_step
from edge_malaria.runtime.slide.site_profile import (
    DEFAULT_MAX_LOD,
    PASS_CELLS,
    SiteProfile,
    limit_table,
)
from edge_malaria.runtime.slide.statistics import SlideStatistics

LEAST_NEGATIVES = 5
RECOMMENDED_NEGATIVES, RECOMMENDED_CELLS = 20, 2000
# Of a negative slide's cells so many may be flagged: 150 of 5,000 are five minutes' look.
FLAGGED_SHARE = 0.03
# Without one slide, thresholds are sought so many places around those of all slides.
_NEAR = 2
# A rate is measured from so many false calls on.
_LEAST_FALSE_CALLS = 3
# A site's slides may have this much more borderline cells than its worst negative.
_BORDERLINE_ROOM = 1.25
# The limit of detection holds on 95 of 100 slides: thresholds are compared on a slide that misses
# more than most do.
_MISSED_AT_MOST = 0.92
# A site whose screening point lies closer above its flagging point than the one, in logits of the
# usual sensitivity, gets an upper point at least the other above it.
_CLOSE_STEP, _UPPER_STEP = 1.0, 2.0
_SITE = "this site"


def check_number(negatives: int) -> None:
    """Refuses too few slides.

    Raises:
        UsageError: fewer than ``LEAST_NEGATIVES``.
    """
    if negatives < LEAST_NEGATIVES:
        raise UsageError(
            f"a site needs at least {LEAST_NEGATIVES} slides without malaria, recommended "
            f"{RECOMMENDED_NEGATIVES} of {RECOMMENDED_CELLS:,} cells; got {negatives}."
        )


class SiteFit:
    """Chooses a site's thresholds and fits its errors.

    Args:
        record: the bundle's error record.
        negatives: the site's slides without malaria, counted at the record's thresholds.
        positives: its slides with malaria: their parasitized cells.

    Raises:
        UsageError: too few negatives.
    """

    def __init__(
        self,
        record: ErrorRecord,
        negatives: Sequence[SlideScores],
        positives: Sequence[SlideScores] = (),
    ) -> None:
        check_number(len(negatives))
        self.record = record
        self.negatives, self.positives = tuple(negatives), tuple(positives)
        self._false: dict[int, HierarchicalFit] = {}
        self._misses: dict[int, RateSpread] = {}
        self.balanced, self.screening = self.choose(self.negatives)
        # Each slide at the thresholds that the others chose.
        self._held_out = [
            self.choose([s for s in self.negatives if s is not slide], self.screening)
            for slide in self.negatives
        ]

    def choose(self, slides: Sequence[SlideScores], near: int | None = None) -> tuple[int, int]:
        """The thresholds (flagging, screening) that some slides choose; screening ``near`` one."""
        cells = sum(s.cells for s in slides)
        flagged = [sum(s.above[i] for s in slides) / max(cells, 1) for i in self._places()]
        low = next((i for i in self._places() if flagged[i] <= FLAGGED_SHARE), self._places()[-1])
        tried = [i for i in self._places() if i >= low and self._measured(i, slides)] or [low]
        if near is not None:
            tried = [i for i in tried if abs(i - near) <= _NEAR] or [low]
        limits = {i: self._rough_limit(i, slides) for i in tried}
        return low, min(limits, key=lambda i: limits[i])

    def _measured(self, place: int, slides: Sequence[SlideScores]) -> bool:
        """Whether slides without malaria show some false calls at a threshold.

        Where they show none the rate is not known but unseen: the best-looking of such thresholds
        would be chosen for its luck.
        """
        return sum(s.above[place] for s in slides) >= _LEAST_FALSE_CALLS

    def _places(self) -> range:
        return range(len(self.record.thresholds))

    def _rough_limit(self, place: int, slides: Sequence[SlideScores]) -> float:
        """About the limit of detection at a threshold: one count, and a low sensitivity."""
        counts = LaboratoryCounts(_SITE, tuple((s.above[place], s.cells) for s in slides))
        eps = self._false_fit(place).extended(counts).of(_SITE).thinned(48)
        needed = fewest_as_rare(eps, PASS_CELLS, VerdictRules().level) or PASS_CELLS
        found = 1 - self._missed(place).quantile(_MISSED_AT_MOST)
        return float((needed + 1.64 * np.sqrt(needed)) / PASS_CELLS / max(found, 1e-4))

    def _false_fit(self, place: int) -> HierarchicalFit:
        if place not in self._false:
            self._false[place] = self.record.false_calls(self.record.thresholds[place])
        return self._false[place]

    def _missed(self, place: int) -> RateSpread:
        if place not in self._misses:
            fit = self.record.misses(self.record.thresholds[place])
            own = LaboratoryScores(_SITE, self.positives).counts(place, missed=True)
            known = fit.extended(own).of(_SITE) if own.cells else fit.new_laboratory()
            self._misses[place] = known
        return self._misses[place]

    def _point(self, place: int, held_out: Sequence[int]) -> PointErrors:
        counts = tuple(
            (slide.above[own], slide.cells)
            for slide, own in zip(self.negatives, held_out, strict=True)
        )
        eps = self._false_fit(place).extended(LaboratoryCounts(_SITE, counts)).of(_SITE)
        return PointErrors.of(eps, self._missed(place))

    def _upper(self) -> int | None:
        """The threshold of ``SlideErrors.upper``; None where the screening point serves."""
        found = self._missed(self.balanced).complement()

        def step(place: int) -> float:
            return usual_step(found, self._missed(place).complement())

        if step(self.screening) >= _CLOSE_STEP:
            return None
        above = self._places()[self.screening + 1 :]
        return next((i for i in above if step(i) >= _UPPER_STEP), None)

    def errors(self, name: str) -> SlideErrors:
        """What the site's next slide is judged by."""
        upper = self._upper()
        borderline = self.record.place(VerdictRules().doubtful_from)
        shares = [
            (s.above[borderline] - s.above[own[1]]) / max(s.cells, 1)
            for s, own in zip(self.negatives, self._held_out, strict=True)
        ]
        return SlideErrors(
            self._point(self.screening, [own[1] for own in self._held_out]),
            self._point(self.balanced, [own[0] for own in self._held_out]),
            len(self.record.healthy) + 1,
            len(self.negatives),
            sum(s.cells for s in self.negatives),
            sum(s.cells for s in self.positives),
            site=name,
            doubtful_base=min(1.0, _BORDERLINE_ROOM * max(shares)),
            upper=None if upper is None else self._point(upper, [upper] * len(self.negatives)),
            upper_from=None if upper is None else self.record.thresholds[upper],
        )

    def profile(
        self,
        name: str,
        bundle_sha256: str,
        conditions: Mapping[str, Any],
        max_lod: float = DEFAULT_MAX_LOD,
        rules: VerdictRules | None = None,
    ) -> SiteProfile:
        """The site's profile.

        Args:
            name: of the site, shown in reports.
            bundle_sha256: of the bundle that its slides were screened with.
            conditions: the settings under which they were screened.
            max_lod: the limit of detection that the site must reach from ``PASS_CELLS`` cells.
            rules: of the verdict.
        """
        errors = self.errors(name)
        statistics = SlideStatistics(errors, rules)
        limits = limit_table(statistics)
        reached = next(alone for n, alone, _ in limits if n == PASS_CELLS)
        return SiteProfile(
            name=name,
            bundle_sha256=bundle_sha256,
            conditions=conditions,
            screening=self.record.thresholds[self.screening],
            balanced=self.record.thresholds[self.balanced],
            errors=errors,
            negatives=len(self.negatives),
            cells=errors.cells,
            positives=len(self.positives),
            parasitized=errors.parasitized,
            limits=limits,
            max_lod=max_lod,
            passed=reached is not None and reached <= max_lod,
        )
