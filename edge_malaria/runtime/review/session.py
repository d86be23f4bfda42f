"""One review of one slide: a decision is on the disk before anybody hears that it was taken."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_malaria.errors import DataError, UsageError
from edge_malaria.records import SlideReport
from edge_malaria.runtime.report.basis import kept_basis
from edge_malaria.runtime.report.write import report_again
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import ReviewDecision, ReviewLine
from edge_malaria.runtime.slide.review import FlaggedCell, Review, reader_name


class ReviewSession:
    """An open review; one process at a time, any number of readers.

    Args:
        directory: a report directory.

    Raises:
        UsageError: no journal or no report in it, or in use by another process.
        DataError: the journal cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise UsageError(f"{directory} is no report directory: expected what screen -o made.")
        self.directory = directory
        self._lock = threading.RLock()
        self.journal = Journal(directory, resume=True)
        try:
            kept_basis(self.journal)
            self.review = Review.of(self.journal)
        except BaseException:
            self.journal.close()
            raise

    @property
    def cells(self) -> Sequence[FlaggedCell]:
        """The flagged cells, best first."""
        return self.review.cells

    def decide(
        self, field: str, index: int, decision: ReviewDecision, reader: str, at: str = ""
    ) -> ReviewLine:
        """Takes a decision: it is on the disk when this returns.

        Args:
            field: of a flagged cell.
            index: of that cell in its field.
            decision: parasite, no-parasite, unsure, or withdrawn, which brings the one before back.
            reader: who decides.
            at: ISO date and time; "" is now.

        Raises:
            UsageError: the slide is signed.
            DataError: no such flagged cell, or an impossible decision.
            StorageError: disk full or not writable; nothing was decided.
        """
        if not self.review.knows((field, index)):
            raise DataError(f"cell {index} of {field} is not flagged on this slide.")
        try:
            when = at or datetime.now(UTC).isoformat(timespec="seconds")
            line = ReviewLine(field, index, decision, reader_name(reader), when)
        except ValueError as error:
            raise DataError(f"no decision: {error}.") from error
        with self._lock:
            self.journal.append(line)
            self.review.add(line)
        return line

    def up_to_date(self) -> bool:
        """Whether the report on the disk knows every decision."""
        try:
            stored = json.loads((self.directory / "report.json").read_text(encoding="utf-8"))
            return bool(stored["review"] == self.review.count().as_json())
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def write_report(self) -> SlideReport:
        """Writes the report anew.

        Raises:
            StorageError: disk full or not writable; the decisions stay.
        """
        with self._lock:
            return report_again(self.directory, self.journal)

    def close(self) -> None:
        """Lets others in."""
        self.journal.close()
