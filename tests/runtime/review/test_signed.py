"""A signed slide is closed: no decision, no further field; its table can still be written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_malaria.errors import UsageError
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.review.table import export_table
from edge_malaria.runtime.store.slides import SlideEntry
from tests.cli import run_cli
from tests.runtime.review.judging import judge


def signed(session: ReviewSession) -> None:
    """Signs the slide as ``serve`` does: a fact of the journal."""
    entry = SlideEntry(session.directory.name, "A-17", state="signed", signed_by="Dr. Okello")
    session.journal.append(replace(entry, signed_at="2026-03-01T10:00:00+00:00").fact())


def test_a_signed_slide_takes_no_decision_on_any_way(session: ReviewSession) -> None:
    judge(session, 2)
    slide, cell = session.directory, session.cells[0]
    table = slide.parent / "cells.csv"
    export_table(session, table)
    signed(session)
    with pytest.raises(UsageError, match="signed by Dr"):
        session.decide(cell.field, cell.index, "no-parasite", "Ben")
    session.close()
    before = (slide / "journal.jsonl").read_bytes()
    table.write_text(table.read_text().replace(",no-parasite,Ana", ",parasite,Ana"))
    for how in (("--import", table), ("--no-browser",)):
        ran = run_cli("review", slide, *how)
        assert ran.code == 2, ran.out
        assert "signed by Dr. Okello (2026-03-01T10:00:00+00:00)" in ran.error
    assert (slide / "journal.jsonl").read_bytes() == before
    again = ReviewSession(slide)
    try:
        with pytest.raises(UsageError, match="a signed slide is closed"):
            again.decide(cell.field, cell.index, "no-parasite", "Ben")
    finally:
        again.close()


def test_a_signed_slide_is_not_screened_further(tmp_path: Path) -> None:
    slide = tmp_path / "slide"
    source = "sim:parasitemia=0.1,fields=2,seed=5,width=420,height=320,cell_diameter_px=60"
    ran = run_cli("screen", source, "-o", slide, "--fields", "1")
    assert ran.code == 0, ran.err
    session = ReviewSession(slide)
    signed(session)
    session.close()
    before = (slide / "journal.jsonl").read_bytes()
    ran = run_cli("screen", source, "-o", slide, "--resume")
    assert ran.code == 2, ran.out
    assert "signed by Dr. Okello" in ran.error
    assert (slide / "journal.jsonl").read_bytes() == before


def test_a_signed_slide_s_table_can_still_be_written(session: ReviewSession) -> None:
    judge(session, 1)
    signed(session)
    slide = session.directory
    session.close()
    ran = run_cli("review", slide, "--export", slide.parent / "cells.csv")
    assert ran.code == 0, ran.err
    assert (slide.parent / "cells.csv").read_text().count(",parasite,Ana") == 1
