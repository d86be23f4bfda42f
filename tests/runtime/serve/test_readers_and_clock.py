"""Several readers on one slide, one of them interrupted; and a clock that is set back meanwhile."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from tests.runtime.serve.conftest import Served, Serving
from tests.runtime.serve.served import Browser

pytestmark = pytest.mark.slow
BACK = timedelta(days=9000)


def decide(browser: Browser, slide: str, word: str, most: int = 1000) -> list[str]:
    """Decides on cell after cell, as the pages lead; the cells' keys in that order."""
    done: list[str] = []
    address = f"/slides/{slide}/review"
    while len(done) < most:
        page = browser.client.get(address, follow_redirects=True).text
        key = re.search(r'name="key" value="([^"]+)"', page)
        cell = re.search(r'name="cell" value="(\d+)"', page)
        if key is None or cell is None:
            break
        form = {"cell": cell.group(1), "key": key.group(1), "decision": word}
        address = browser.post(f"/slides/{slide}/decide", **form).headers["location"]
        done.append(key.group(1))
    return done


def lines(served: Served, slide: str) -> list[tuple[str, str, str]]:
    """(reader, cell's key, decision) in the journal's order."""
    with served.clinic.desk.reading(slide) as opened:
        found = list(opened.session.journal.reviews())
    return [(line.reader, f"{line.index}@{line.field}", str(line.decision)) for line in found]


def test_two_readers_and_an_interrupted_one_on_one_slide(serving: Serving) -> None:
    first = serving(users=True, read=True)
    slide = first.slide("B-1", "Rita")
    rita, sam = first.browser("Rita"), first.browser("Sam")
    # By turns: neither sees, or is led by, what the other decided.
    by_rita = decide(rita, slide, "no-parasite", 2)
    by_sam = decide(sam, slide, "no-parasite", 3)
    assert by_sam[:2] == by_rita
    by_rita += decide(rita, slide, "no-parasite")
    flagged = first.clinic.desk.get(slide).flagged
    assert len(by_rita) == len(set(by_rita)) == flagged > 3
    before = lines(first, slide)
    first.clinic.close()
    # Sam was interrupted: another server goes on, he signs in again.
    again = serving(users=True)
    assert lines(again, slide) == before
    sam = again.browser("Sam")
    by_sam += decide(sam, slide, "parasite", 1)
    by_sam += decide(sam, slide, "no-parasite")
    assert by_sam == by_rita
    with again.clinic.desk.reading(slide) as opened:
        review = opened.session.review
        states = [review.status(cell.key) for cell in opened.session.cells]
        cells = {f"{cell.index}@{cell.field}": cell.key for cell in opened.session.cells}
    assert states.count("conflict") == 1
    contested = by_sam[3]
    report = again.clinic.desk.judged(slide)
    assert sorted(report.review["readers"]) == ["Rita", "Sam"]
    assert report.verdict == "indeterminate"
    # The third reader comes to one cell only; each keeps the own decision.
    ada = again.browser("Ada")
    decide(ada, slide, "parasite", 1)
    with again.clinic.desk.reading(slide) as opened:
        said = opened.session.review.decisions(cells[contested])
        assert {name: line.decision for name, line in said.items()} == {
            "Rita": "no-parasite", "Sam": "parasite",
        }  # fmt: skip
    found = lines(again, slide)
    assert len(found) == 2 * flagged + 1
    assert [key for who, key, _ in found if who == "Sam"] == by_sam


class _Back(datetime):
    """The clock after its battery was changed."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - BACK


def set_back(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("edge_malaria.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", _Back)
    clock: Any = lambda: time.time() - BACK.total_seconds()  # noqa: E731
    monkeypatch.setattr(served.clinic.sessions, "_clock", clock)


def test_a_clock_set_back_during_a_slide_changes_no_order(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serving(users=True, read=True)
    desk, slide = served.clinic.desk, served.slide("B-1", "Rita")
    rita = served.browser("Rita")
    early = decide(rita, slide, "parasite", 3)
    set_back(monkeypatch, served)
    # Nobody is signed out by it.
    rest = decide(rita, slide, "no-parasite")
    # The same cell again: the later line counts, whatever its time says.
    field = {"cell": "0", "key": early[0], "decision": "no-parasite"}
    rita.post(f"/slides/{slide}/decide", **field)
    with desk.reading(slide) as opened:
        found = list(opened.session.journal.reviews())
        cell = opened.session.cells[0]
        assert opened.session.review.decisions(cell.key)["Rita"].decision == "no-parasite"
    assert found[-1].at < found[0].at
    assert [f"{line.index}@{line.field}" for line in found] == [*early, *rest, early[0]]
    sam = served.browser("Sam")
    sam.post(f"/slides/{slide}/sign", agree="yes", password="supervisor-password")
    entry = desk.get(slide)
    assert (entry.state, entry.signed_at < entry.created) == ("signed", True)
    report = desk.signed(slide)[0]
    assert report.review["confirmed"] == 2
    # Numbered lines: the trail's order is what happened.
    trail = served.clinic.audit.latest(100)[::-1]
    assert [line.number for line in trail] == list(range(1, len(trail) + 1))
    actions = [(line.detail, line.action) for line in trail]
    assert actions[-1] == ("Sam", "signed")
    assert actions.index(("Rita", "signed-in")) < actions.index(("Sam", "signed-in"))
    assert trail[-1].at < trail[0].at
    # The slide that is made now stands first, though its date is the oldest.
    made = desk.make("B-2", "Rita")
    assert desk.entries()[0].id == made.id
    assert made.created < entry.created
