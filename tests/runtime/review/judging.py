"""Deciding about flagged cells in tests, and the report that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_malaria.runtime.review.session import ReviewSession


def report(slide: Path) -> dict[str, Any]:
    """report.json."""
    document: dict[str, Any] = json.loads((slide / "report.json").read_text())
    return document


def judge(session: ReviewSession, confirmed: int, reader: str = "Ana") -> None:
    """Confirms the best cells, overturns the others."""
    for place, cell in enumerate(session.cells):
        word = "parasite" if place < confirmed else "no-parasite"
        session.decide(cell.field, cell.index, word, reader)
