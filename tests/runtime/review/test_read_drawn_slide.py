"""The demo's reader: it says what was drawn, and the slide ends with a reader's verdict."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from edge_malaria.errors import UsageError
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.review.table import import_table
from edge_malaria.runtime.sources.simulated import SimulatedSource
from tests.runtime.review.slides import SIM, screened
from tools.read_drawn_slide import READER, decisions, parasitized_boxes


@pytest.mark.slow
def test_the_scripted_reader_knows_the_drawing(tmp_path: Path) -> None:
    session = ReviewSession(screened(tmp_path / "slide"))
    text = decisions(list(session.cells), parasitized_boxes(SIM))
    rows = list(csv.DictReader(io.StringIO(text)))
    drawn = sum(len(shot.truth.parasitized) for shot in SimulatedSource(SIM).stage)
    confirmed = sum(row["decision"] == "parasite" for row in rows)
    assert 2 <= confirmed <= drawn
    (tmp_path / "decisions.csv").write_text(text)
    assert import_table(session, tmp_path / "decisions.csv") == len(rows)
    report = session.write_report()
    session.close()
    assert (report.verdict, report.review["readers"]) == ("parasites-detected", [READER])


def test_of_anything_else_the_truth_is_not_known() -> None:
    with pytest.raises(UsageError, match="only of a drawing"):
        parasitized_boxes("fields/")
