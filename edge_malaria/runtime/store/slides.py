"""The worklist: what the database knows of each slide, and how the journals tell it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from edge_malaria.errors import EdgeMalariaError, UsageError
from edge_malaria.records import expect
from edge_malaria.runtime.slide.counts import DEFAULT_RBC_PER_UL
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import SlideLine
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.signature import SAMPLE_FACT
from edge_malaria.runtime.store.database import transaction

State = Literal["new", "running", "paused", "finished", "signed"]
STATES: tuple[State, ...] = get_args(State)
SLIDES = "slides"


@dataclass(frozen=True)
class SlideEntry:
    """One line of the worklist.

    Attributes:
        id: names the slide's directory below ``slides``.
        sample: the laboratory's own code; nothing more personal is asked.
        reader: who reads the slide.
        site: the site profile's file name, "" for none.
        rbc_per_ul: red cells per microlitre.
        state: new, running, paused, finished or signed.
        created: ISO date and time by this machine's clock.
        verdict, basis, cells_counted, flagged, reviewed: of the latest report.
        signed_by, signed_at: who signed and when (ISO), "" before.
        signed_sha256: of what was signed.
        source: what its fields come from, as the device names its sources.
    """

    id: str
    sample: str
    reader: str = ""
    site: str = ""
    rbc_per_ul: float = DEFAULT_RBC_PER_UL
    state: State = "new"
    created: str = ""
    verdict: str = ""
    basis: str = ""
    cells_counted: int = 0
    flagged: int = 0
    reviewed: int = 0
    signed_by: str = ""
    source: str = ""
    signed_at: str = ""
    signed_sha256: str = ""

    def __post_init__(self) -> None:
        expect(
            bool(self.id) and "/" not in self.id and not self.id.startswith("."), "an id", self.id
        )
        expect(bool(self.sample.strip()), "a sample code", self.sample)
        expect(self.state in STATES, f"state in {STATES}", self.state)
        expect(self.rbc_per_ul > 0, "rbc_per_ul > 0", self.rbc_per_ul)

    def fact(self) -> SlideLine:
        """The journal's line from which the entry can be learned again."""
        names = (
            "sample", "reader", "site", "rbc_per_ul", "state", "created", "signed_by", "signed_at",
            "signed_sha256", "source",
        )  # fmt: skip
        return SlideLine(SAMPLE_FACT, {name: getattr(self, name) for name in names})


_NAMES = tuple(field.name for field in fields(SlideEntry))


class Worklist:
    """The slides of one device.

    Args:
        connection: of ``open_database``.
        data: the device's data folder.
    """

    def __init__(self, connection: sqlite3.Connection, data: Path) -> None:
        self._connection, self.data = connection, data

    def directory(self, slide: str) -> Path:
        """Where a slide's journal and report lie."""
        return self.data / SLIDES / slide

    def put(self, entry: SlideEntry) -> None:
        """Adds an entry, or replaces the one of that id."""
        marks = ", ".join("?" for _ in _NAMES)
        updates = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "id")
        self._connection.execute(
            f"INSERT INTO slides ({', '.join(_NAMES)}) VALUES ({marks}) "
            f"ON CONFLICT (id) DO UPDATE SET {updates}",
            tuple(asdict(entry).values()),
        )

    def get(self, slide: str) -> SlideEntry:
        """One entry.

        Raises:
            UsageError: no slide of that id.
        """
        row = self._connection.execute("SELECT * FROM slides WHERE id = ?", (slide,)).fetchone()
        if row is None:
            raise UsageError(f"no slide {slide!r} on this device.")
        return _entry(row)

    def all(self) -> Iterator[SlideEntry]:
        """Every entry, the latest made first, also where the clock was set back meanwhile."""
        for row in self._connection.execute("SELECT * FROM slides ORDER BY rowid DESC"):
            yield _entry(row)

    def rebuild(self) -> list[str]:
        """Learns every slide again from its journal.

        A slide that was registered and not begun stands in the database alone: it stays. One whose
        journal cannot be read keeps its entry, too: whoever opens it is told why.

        Returns:
            A sentence for each slide that could not be read, or whose directory is gone.
        """
        found, lost = [], []
        folder = self.data / SLIDES
        journals = {
            path.name: path
            for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
            if (path / JOURNAL_NAME).is_file()
        }
        for name, path in journals.items():
            try:
                found.append(entry_from_journal(path))
            except (EdgeMalariaError, ValueError) as error:
                lost.append(f"{name}: {error}")
        gone = [e.id for e in self.all() if e.state != "new" and e.id not in journals]
        with transaction(self._connection):
            for entry in found:
                self.put(entry)
            for slide in gone:
                self._connection.execute("DELETE FROM slides WHERE id = ?", (slide,))
        return [*lost, *(f"{slide}: its journal is gone, and with it the slide" for slide in gone)]


def entry_from_journal(directory: Path) -> SlideEntry:
    """What a slide's journal says for the worklist.

    Raises:
        EdgeMalariaError: the journal is in use, unreadable or of another version.
        ValueError: its facts cannot be.
    """
    journal = Journal(directory, resume=True)
    try:
        kept: Any = journal.facts().get(SAMPLE_FACT)
        facts: dict[str, Any] = dict(kept) if isinstance(kept, dict) else {}
        review = Review.of(journal).count()
        cells = sum(line.counted for line in journal.fields())
        started = journal.header.started
    finally:
        journal.close()
    known = {name: facts[name] for name in facts if name in _NAMES}
    # A slide that was screened from the command line knows no sample: its directory names it.
    values: dict[str, Any] = {
        "sample": directory.name,
        "state": "paused",
        "created": started,
        **known,
    }
    return SlideEntry(
        id=directory.name,
        cells_counted=cells,
        flagged=review.flagged,
        reviewed=review.reviewed,
        **values,
    )


def _entry(row: sqlite3.Row) -> SlideEntry:
    return SlideEntry(**{name: row[name] for name in _NAMES})
