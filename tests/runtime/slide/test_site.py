"""A site's own errors: what is chosen, what is refused, and that it screens by them."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.errors import DataError, UsageError
from edge_malaria.runtime.slide.counts import ReviewCount, SlideCount
from edge_malaria.runtime.slide.error_record import ErrorRecord, LaboratoryScores, SlideScores
from edge_malaria.runtime.slide.expected_errors import SlideErrors
from edge_malaria.runtime.slide.site_fit import SiteFit
from edge_malaria.runtime.slide.site_profile import SiteProfile, read_site
from edge_malaria.runtime.slide.site_slides import check_slides, positive_scores, read_slide
from edge_malaria.runtime.slide.statistics import SlideStatistics
from tests.runtime.review.slides import screened

THRESHOLDS = (0.2, 0.5, 0.7, 0.9, 0.99, 0.999)


def healthy(rng: np.random.Generator, cells: int, level: float) -> np.ndarray:
    """Scores of healthy cells: logits around ``level``."""
    return 1 / (1 + np.exp(-rng.normal(level, 1.4, cells)))


@cache
def record(seed: int = 0) -> ErrorRecord:
    """Five laboratories whose healthy cells score differently, and one with parasites."""
    rng = np.random.default_rng(seed)
    calm = tuple(
        LaboratoryScores(
            f"lab {n}",
            tuple(
                SlideScores.count(f"{i}", healthy(rng, 800, level), THRESHOLDS) for i in range(6)
            ),
        )
        for n, level in enumerate((-5.0, -4.5, -4.0, -3.0, -2.0))
    )
    sick = tuple(SlideScores.count(f"{i}", healthy(rng, 100, 5.0), THRESHOLDS) for i in range(20))
    return ErrorRecord(THRESHOLDS, calm, (LaboratoryScores("lab 0", sick),))


def negatives(
    level: float, number: int = 20, cells: int = 2000, seed: int = 1
) -> list[SlideScores]:
    """A site's slides without malaria."""
    rng = np.random.default_rng(seed)
    return [
        SlideScores.count(f"n{i}", healthy(rng, cells, level), THRESHOLDS) for i in range(number)
    ]


@cache
def profile(level: float = -4.5, number: int = 20) -> SiteProfile:
    """A fitted site."""
    return SiteFit(record(), negatives(level, number)).profile("here", "0" * 64, {}, 0.02)


@pytest.mark.slow
def test_a_verified_site_sees_far_fewer_parasites_than_an_unknown_one() -> None:
    known = profile()
    alone = {n: limit for n, limit, _ in known.limits}
    unknown = SlideStatistics(record().errors(known.screening, known.balanced))
    wide = unknown.limit_of_detection(5000)
    assert alone[5000] is not None
    assert wide is None or alone[5000] < wide / 5
    assert [limit for _, limit, _ in known.limits] == sorted(
        (limit for _, limit, _ in known.limits), key=lambda v: -(v or 1)
    )
    more = profile(number=40)
    assert {n: limit for n, limit, _ in more.limits}[5000] <= 1.2 * alone[5000]
    assert known.passed == (alone[5000] <= 0.02)


def test_a_site_s_false_alarms_stay_below_the_level() -> None:
    known = profile(-3.5)
    statistics = SlideStatistics(known.errors)
    rng = np.random.default_rng(3)
    calls = 0
    for _ in range(300):
        p = healthy(rng, 5000, -3.5)
        count = SlideCount(
            5000,
            int((p >= known.screening).sum()),
            int(((p >= 0.2) & (p < known.screening)).sum()),
            int((p >= known.balanced).sum()),
        )
        calls += statistics.verdict(count).verdict == "parasites-detected"
    assert calls <= 6


@pytest.mark.slow
def test_a_noisier_site_gets_higher_thresholds() -> None:
    calm, wild = profile(-5.0), profile(-2.0)
    assert wild.balanced > calm.balanced
    assert wild.screening >= calm.screening


@pytest.mark.slow
def test_positives_change_what_is_missed() -> None:
    rng = np.random.default_rng(4)
    weak = [SlideScores.count(f"p{i}", healthy(rng, 200, -1.0), THRESHOLDS) for i in range(6)]
    blind = SiteFit(record(), negatives(-4.5), weak).profile("here", "0" * 64, {})
    assert blind.errors.balanced is not None
    elsewhere = profile().errors.balanced
    assert elsewhere is not None
    assert blind.errors.balanced.sensitivity.mean < 0.8 < elsewhere.sensitivity.mean
    assert blind.parasitized == 1200


@pytest.mark.slow
def test_points_that_lie_close_together_get_an_upper_one() -> None:
    fit = SiteFit(record(), negatives(-4.5))
    fit.screening = fit.balanced
    errors = fit.errors("here")
    assert errors.upper is not None and errors.upper_from is not None
    assert errors.upper_from > THRESHOLDS[fit.balanced]
    assert SlideErrors.from_json(json.loads(json.dumps(errors.as_json()))).as_json() == (
        errors.as_json()
    )
    reader = SlideStatistics(errors).reader
    strong, weak = (
        reader.measured(2000, ReviewCount(60, 60, 30, 30, confirmed_by=1, confirmed_upper=k))[1][1]
        for k in (28, 2)
    )
    assert weak > 1.3 * strong
    fit.screening = len(THRESHOLDS) - 1
    assert fit.errors("here").upper is None


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    known = profile()
    path = tmp_path / "site.json"
    path.write_text(json.dumps(known.as_json()))
    again = read_site(path)
    assert again.as_json() == known.as_json()
    path.write_text(json.dumps({**known.as_json(), "schema_version": 9}))
    with pytest.raises(UsageError, match="version 9"):
        read_site(path)
    path.write_text(json.dumps({**known.as_json(), "screening": 2}))
    with pytest.raises(DataError, match="damaged"):
        read_site(path)
    for key, value in (("rates", float("nan")), ("rates", -0.1), ("weights", -0.1)):
        spoilt = known.as_json()
        spoilt["errors"]["screening"]["eps"][key][0] = value
        path.write_text(json.dumps(spoilt))
        with pytest.raises(DataError, match="damaged"):
            read_site(path)
    path.write_text("{}")
    with pytest.raises(DataError, match="no site profile"):
        read_site(path)


def test_too_few_slides_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 5"):
        SiteFit(record(), negatives(-4.5, 4))


def test_slides_that_cannot_verify_a_site_are_refused(tmp_path: Path) -> None:
    from edge_malaria.runtime.review.session import ReviewSession

    spec = "sim:parasitemia=0.2,fields=2,seed={},width=640,height=480,cell_diameter_px=55"
    one = read_slide(screened(tmp_path / "one", spec.format(5)))
    two = read_slide(screened(tmp_path / "two", spec.format(6)))
    check_slides([one, two], [], "")
    with pytest.raises(UsageError, match="another bundle"):
        check_slides([one, two], [], "f" * 64)
    copied = read_slide(Path(shutil.copytree(tmp_path / "one", tmp_path / "copy")))
    with pytest.raises(UsageError, match="hold the same field"):
        check_slides([one, two, copied], [], "")
    with pytest.raises(UsageError, match="no reader confirmed"):
        positive_scores(two, THRESHOLDS, None, [0.0] * 6, 0.9)
    session = ReviewSession(tmp_path / "one")
    for cell in session.cells:
        session.decide(*cell.key, "parasite", "Ana")
    session.close()
    read = read_slide(tmp_path / "one")
    with pytest.raises(UsageError, match="a reader confirmed"):
        check_slides([read, two], [], "")
    check_slides([two], [read], "")
    scores = positive_scores(read, THRESHOLDS, None, [0.0] * 6, 0.9)
    assert scores.cells == round(len(read.confirmed) / 0.9)
    known = positive_scores(two, THRESHOLDS, 0.2, [0.01] * 6, 0.9)
    assert known.cells == round(0.2 * len(two.chances))
    with pytest.raises(UsageError, match="false calls"):
        positive_scores(two, THRESHOLDS, 0.02, [0.1] * 6, 0.9)
