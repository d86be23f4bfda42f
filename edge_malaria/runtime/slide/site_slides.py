"""Slides of a site's verification, read from their report directories."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.errors import UsageError
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.error_record import ErrorRecord, SlideScores
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.site_fit import SiteFit

# A field with so many cells is one of its kind: its scores do not come twice by chance.
_TELLING_CELLS = 5
# So many false calls for each parasite, and the calls no longer tell how many parasites are found.
_DROWNED = 0.25
# What decides about fields and cells' scores; thresholds do not.
CONDITIONS = (
    "model_sha256", "variant", "engine", "finder", "finder_variant", "quality", "motion",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SiteSlide:
    """One slide as it was screened.

    Attributes:
        directory: of its report.
        header: of its journal.
        chances: float64 [N], probabilities of its counted cells.
        fields: a digest of each field with enough cells to know it again.
        confirmed: float64 [C], probabilities of the flagged cells that a reader confirmed.
    """

    directory: Path
    header: HeaderLine
    chances: Floats
    fields: frozenset[str]
    confirmed: Floats

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Under which its cells were found and scored."""
        return {name: self.header.settings.get(name) for name in CONDITIONS}


def read_slide(directory: Path) -> SiteSlide:
    """Reads one report directory.

    Raises:
        UsageError: no report, or in use.
        DataError: not readable.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is no report directory: expected what screen -o made.")
    journal = Journal(directory, resume=True)
    try:
        chances: list[float] = []
        digests: set[str] = set()
        for line in journal.fields():
            own = [c.p_parasitized for c in line.cells if c.counted and c.p_parasitized is not None]
            chances += own
            if len(own) >= _TELLING_CELLS:
                digests.add(_digest(line))
        review = Review.of(journal)
        confirmed = [
            cell.p_parasitized for cell in review.cells if review.status(cell.key) == "confirmed"
        ]
    finally:
        journal.close()
    return SiteSlide(
        directory, journal.header, np.array(chances), frozenset(digests), np.array(confirmed)
    )


def _digest(line: FieldLine) -> str:
    rows = [(cell.box, cell.p_parasitized) for cell in line.cells]
    return hashlib.sha256(repr((line.size_px, rows)).encode()).hexdigest()


def check_slides(
    negatives: Sequence[SiteSlide], positives: Sequence[SiteSlide], bundle_sha256: str
) -> None:
    """Refuses slides that cannot verify a site.

    Raises:
        UsageError: another bundle or other conditions, the same slide twice, a negative with a
            confirmed parasite, a slide without cells.
    """
    slides = [*negatives, *positives]
    for slide in slides:
        if slide.header.bundle_sha256 != bundle_sha256:
            raise UsageError(
                f"{slide.directory} was screened with another bundle than this one. Screen its "
                "pictures again, or name that bundle with --bundle."
            )
        other = [k for k, v in slides[0].conditions.items() if slide.conditions[k] != v]
        if other:
            raise UsageError(
                f"{slide.directory} and {slides[0].directory} differ in {', '.join(other)}: "
                "a site's slides must all be screened alike."
            )
        if not len(slide.chances):
            raise UsageError(
                f"{slide.directory}: no red cell was counted. Its report says why; screen it "
                "again, or leave the slide out."
            )
    for place, slide in enumerate(slides):
        for earlier in slides[:place]:
            if slide.fields & earlier.fields:
                raise UsageError(
                    f"{slide.directory} and {earlier.directory} hold the same field: "
                    "each slide counts once."
                )
    for slide in negatives:
        if len(slide.confirmed):
            raise UsageError(
                f"{slide.directory}: a reader confirmed {len(slide.confirmed)} parasites. "
                "It is no slide without malaria."
            )


def negative_scores(slide: SiteSlide, thresholds: Sequence[float]) -> SlideScores:
    """A slide without malaria, counted at each of some thresholds."""
    return SlideScores.count(slide.directory.name, slide.chances, thresholds)


def positive_scores(
    slide: SiteSlide,
    thresholds: Sequence[float],
    parasitemia: float | None,
    false_calls: Sequence[float],
    found_when_flagged: float,
    balanced: int = 0,
) -> SlideScores:
    """The parasitized cells of a slide with malaria, counted at each of some thresholds.

    Args:
        slide: with malaria.
        thresholds: at which to count, rising.
        parasitemia: known by another method, a fraction: the calls above those that healthy cells
            explain are then parasites. None takes the cells that a reader confirmed, and for
            those that were not flagged what the classifier misses elsewhere.
        false_calls: the site's mean share of false calls at each threshold.
        found_when_flagged: mean sensitivity of flagging elsewhere.
        balanced: the threshold at which the site flags cells.

    Raises:
        UsageError: neither a parasitemia nor a confirmed cell; or a parasitemia so low that the
            site's false calls drown its parasites.
    """
    name, cells = slide.directory.name, len(slide.chances)
    if parasitemia is not None:
        sick = max(1, round(parasitemia * cells))
        if not (false_calls[balanced] * cells <= _DROWNED * sick):
            raise UsageError(
                f"{slide.directory}: {false_calls[balanced] * cells:.0f} false calls are to be "
                f"expected beside {sick} parasites, so their number does not tell how many are "
                "found. Review the slide and leave its parasitemia out."
            )
        called = [float((slide.chances >= threshold).sum()) for threshold in thresholds]
        above = [
            round(k - eps * (cells - sick)) for k, eps in zip(called, false_calls, strict=True)
        ]
    else:
        if not len(slide.confirmed):
            raise UsageError(
                f"{slide.directory}: no reader confirmed a parasite. Review it first, or give its "
                "known parasitemia: --positive DIR:0.02."
            )
        sick = max(1, round(len(slide.confirmed) / found_when_flagged))
        above = [int((slide.confirmed >= threshold).sum()) for threshold in thresholds]
    above = [min(max(k, 0), sick) for k in above]
    falling = tuple(min(above[: place + 1]) for place in range(len(above)))
    return SlideScores(name, sick, falling)


def fit_site(
    record: ErrorRecord,
    negatives: Sequence[SiteSlide],
    positives: Sequence[tuple[SiteSlide, float | None]],
    flagged_from: float,
) -> SiteFit:
    """The fit of slides that ``check_slides`` let pass.

    Args:
        record: of the bundle.
        negatives: slides free of malaria.
        positives: slides with malaria, each with its parasitemia where another method knows it.
        flagged_from: the threshold at which reviewed slides were flagged, one of the record's.

    Raises:
        UsageError: too few negatives, or a positive that tells nothing.
    """
    counted = [negative_scores(slide, record.thresholds) for slide in negatives]
    made = SiteFit(record, counted)
    if not positives:
        return made
    cells = sum(slide.cells for slide in counted)
    false_calls = [sum(s.above[i] for s in counted) / cells for i in range(len(record.thresholds))]
    flagged = 1 - record.misses(flagged_from).new_laboratory().mean
    found = [
        positive_scores(slide, record.thresholds, known, false_calls, flagged, made.balanced)
        for slide, known in positives
    ]
    return SiteFit(record, counted, found)
