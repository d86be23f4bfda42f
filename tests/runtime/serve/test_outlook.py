"""Twenty phones look on: what they see is worked out once, and seldom enough."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.slide_errors import slide_errors
from edge_malaria.runtime.serve.outlook import LatestOutlook, Outlook, outlook
from edge_malaria.runtime.serve.steered import SteeredSource
from edge_malaria.runtime.slide.counts import SlideCount
from edge_malaria.runtime.slide.statistics import SlideStatistics
from edge_malaria.runtime.sources.opening import open_source


def _statistics() -> SlideStatistics:
    return SlideStatistics(slide_errors(read_bundle(shipped_bundle())), load_config().verdict)


def _count(fields: int) -> SlideCount:
    return SlideCount(40 * fields, 2 * fields, 3 * fields, 3 * fields)


def test_the_outlook_follows_its_counts_and_rests_between() -> None:
    latest, fresh = LatestOutlook(_statistics()), _statistics()
    assert outlook(fresh, SlideCount(0, 0, 0, 0)) == Outlook()
    first = latest.of(_count(5))
    assert first == outlook(fresh, _count(5))
    assert first.measured is not None
    assert first.cells_needed is not None
    # Each further field would cost as much: it is left for later, and made good then.
    assert latest.of(_count(50)) == first
    end, wanted = time.monotonic() + 60, outlook(fresh, _count(50))
    while latest.of(_count(50)) != wanted:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert wanted != first


def test_a_busy_slide_costs_its_onlookers_little() -> None:
    latest = LatestOutlook(_statistics())
    started, used = time.monotonic(), time.thread_time()
    fields = 0
    while time.monotonic() - started < 3:
        fields += 1
        latest.of(_count(fields))
        time.sleep(0.01)
    assert fields > 30
    # A twentieth of a core; the first look alone may have taken longer than its share.
    assert time.thread_time() - used < 0.6


def test_the_live_picture_is_drawn_once_for_all() -> None:
    source = SteeredSource(open_source(["sim:fields=2,seed=3,width=1600,height=1200"]), {})
    assert source.newest_jpeg() == b""
    fields = source.fields()
    next(fields)
    first = source.newest_jpeg()
    assert source.newest_jpeg() is first
    image = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert max(image.shape) == 800
    next(fields)
    assert source.newest_jpeg() != first
