"""The rules of a review: what the decisions of one and of two readers make of a verdict."""

from __future__ import annotations

import pytest

from edge_malaria.errors import DataError
from edge_malaria.runtime.review.session import ReviewSession
from tests.runtime.review.judging import judge, report


def test_until_every_cell_is_judged_the_program_s_verdict_stands(session: ReviewSession) -> None:
    before = report(session.directory)
    assert (before["basis"], before["review"]["reviewed"]) == ("algorithm", 0)
    assert sum(cell.positive for cell in session.cells) == before["cells_positive"]
    assert before["cells_positive"] < before["cells_flagged"]
    for cell in session.cells[:-1]:
        session.decide(cell.field, cell.index, "parasite", "Ana")
    found = session.write_report()
    assert (found.verdict, found.basis) == (before["verdict"], "algorithm")
    assert found.review["flagged"] - found.review["reviewed"] == 1
    page = (session.directory / "report.html").read_text()
    assert "Look at the flagged cells that wait: 1." in page
    last = session.cells[-1]
    session.decide(last.field, last.index, "no-parasite", "Ana")
    found = session.write_report()
    assert (found.verdict, found.basis) == ("parasites-detected", "reader")
    assert found.parasitemia is not None and found.ci95 is not None
    count = session.review.count()
    assert count.confirmed_upper == before["cells_positive"]
    above = [session.review.count(upper_from=p).confirmed_upper for p in (0.0, 1.1)]
    assert above == [count.confirmed, 0]
    share = found.review["confirmed"] / found.cells_counted
    assert found.ci95[0] < share < found.ci95[1]
    assert found.parasitemia > share
    assert "Read by Ana" in (session.directory / "report.html").read_text()


@pytest.mark.parametrize(
    ("confirmed", "verdict", "cause"),
    [
        (0, "not-detected", "none-confirmed"),
        (1, "indeterminate", "one-confirmed"),
        (2, "parasites-detected", "confirmed"),
    ],
)
def test_the_reader_s_rules(
    session: ReviewSession, confirmed: int, verdict: str, cause: str
) -> None:
    judge(session, confirmed)
    found = session.write_report()
    assert (found.verdict, found.basis) == (verdict, "reader")
    assert found.details["statistics"]["cause"] == cause
    if cause == "one-confirmed":
        assert "second person" in (session.directory / "report.html").read_text()
        # A second reader who confirms the same cell settles it.
        judge(session, 1, "Ben")
        found = session.write_report()
        assert (found.verdict, found.review["readers"]) == ("parasites-detected", ["Ana", "Ben"])


def test_two_readers_who_contradict_each_other_are_both_kept_and_shown(
    session: ReviewSession,
) -> None:
    judge(session, 1, "Ana")
    judge(session, 0, "Ben")
    found = session.write_report()
    assert (found.verdict, found.details["statistics"]["cause"]) == ("indeterminate", "no-answer")
    page = (session.directory / "report.html").read_text()
    assert "readers disagree" in page
    assert "Ana: parasite, Ben: no parasite" in page
    lines = list(session.journal.reviews())
    assert len(lines) == 2 * len(session.cells)
    assert {line.reader for line in lines} == {"Ana", "Ben"}


def test_a_change_keeps_the_old_decision_and_undo_brings_it_back(session: ReviewSession) -> None:
    cell = session.cells[0]
    for word in ("parasite", "no-parasite"):
        session.decide(*cell.key, word, "Ana")  # type: ignore[arg-type]
    assert session.review.status(cell.key) == "overturned"
    session.decide(*cell.key, "withdrawn", "Ana")
    assert session.review.status(cell.key) == "confirmed"
    session.decide(*cell.key, "withdrawn", "Ana")
    assert session.review.status(cell.key) == "waiting"
    words = [line.decision for line in session.journal.reviews()]
    assert words == ["parasite", "no-parasite", "withdrawn", "withdrawn"]


def test_cells_that_cannot_be_told_leave_the_slide_open(session: ReviewSession) -> None:
    judge(session, 0)
    session.decide(*session.cells[0].key, "unsure", "Ana")
    found = session.write_report()
    assert (found.verdict, found.details["statistics"]["cause"]) == ("indeterminate", "no-answer")
    judge(session, 0, "Ben")
    assert session.write_report().verdict == "not-detected"


def test_impossible_decisions_are_refused(session: ReviewSession) -> None:
    cell = session.cells[0]
    with pytest.raises(DataError, match="not flagged"):
        session.decide("no such field", 0, "parasite", "Ana")
    with pytest.raises(DataError, match="reader"):
        session.decide(*cell.key, "parasite", "  ")
    with pytest.raises(DataError, match="decision"):
        session.decide(*cell.key, "maybe", "Ana")  # type: ignore[arg-type]
    assert list(session.journal.reviews()) == []
