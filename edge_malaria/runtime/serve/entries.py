"""The worklist as the server uses it: new lines, found lines, and what a power cut left of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from edge_malaria.errors import EdgeMalariaError, UsageError
from edge_malaria.records import SlideReport
from edge_malaria.runtime.serve.refused import NotHere, Refused
from edge_malaria.runtime.serve.signed import NAME as SIGNED_NAME
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.slide.review import reader_name
from edge_malaria.runtime.store.database import transaction
from edge_malaria.runtime.store.outbox import Outbox
from edge_malaria.runtime.store.slides import SlideEntry, Worklist, entry_from_journal

MOST_SAMPLE_CHARACTERS = 60


class Entries:
    """The device's worklist.

    Args:
        store: the database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def _worklist(self) -> Iterator[Worklist]:
        with self._store.use() as connection:
            yield Worklist(connection, self._store.data)

    def wake(self) -> list[str]:
        """After a start: what ran when the power went is paused; a lost worklist is read anew.

        Returns:
            What could not be read, in words.
        """
        with self._worklist() as worklist:
            entries = list(worklist.all())
            lost = [] if entries else worklist.rebuild()
            for entry in list(worklist.all()):
                directory = worklist.directory(entry.id)
                if entry.state == "running":
                    worklist.put(replace(entry, state="paused"))
                elif entry.state == "finished" and (directory / SIGNED_NAME).is_file():
                    # The journal may have been told of the signature just before the power went.
                    try:
                        told = entry_from_journal(directory)
                    except (EdgeMalariaError, ValueError) as error:
                        lost.append(f"{entry.id}: {error}")
                        continue
                    if told.state == "signed":
                        names = ("state", "signed_by", "signed_at", "signed_sha256")
                        known = {name: getattr(told, name) for name in names}
                        worklist.put(replace(entry, **known))
        return lost

    def all(self) -> list[SlideEntry]:
        """Every line, the latest slide first."""
        with self._worklist() as worklist:
            return list(worklist.all())

    def get(self, slide: str) -> SlideEntry:
        """One line.

        Raises:
            NotHere: no such slide.
        """
        with self._worklist() as worklist:
            try:
                return worklist.get(slide)
            except UsageError as error:
                raise NotHere("This slide is not on this device.") from error

    def put(self, entry: SlideEntry) -> None:
        """Adds a line, or replaces the slide's."""
        with self._worklist() as worklist:
            worklist.put(entry)

    def put_signed(self, entry: SlideEntry, targets: Sequence[str]) -> None:
        """The same for a signed slide, which from then on waits to be sent to ``targets``."""
        with self._store.use() as connection, transaction(connection):
            Worklist(connection, self._store.data).put(entry)
            Outbox(connection).queue(entry.id, entry.signed_sha256, targets)


def new_entry(sample: str, reader: str, *, site: str, rbc_per_ul: float, source: str) -> SlideEntry:
    """A new slide's line.

    Raises:
        Refused: an impossible sample code or reader.
    """
    code = " ".join(sample.split())
    if not (0 < len(code) <= MOST_SAMPLE_CHARACTERS and code.isprintable()):
        raise Refused(
            "The sample's code needs 1 to %(most)s characters.", most=MOST_SAMPLE_CHARACTERS
        )
    now = datetime.now(UTC)
    return SlideEntry(
        f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}", code, named(reader), site, rbc_per_ul,
        created=now.isoformat(timespec="seconds"), source=source,
    )  # fmt: skip


def named(name: str) -> str:
    """A person's name as it is kept.

    Raises:
        Refused: empty, too long, or with characters that cannot be shown.
    """
    try:
        return reader_name(name)
    except ValueError as error:
        raise Refused("Say who reads: a name of up to 80 characters.") from error


def judged_entry(entry: SlideEntry, report: SlideReport) -> SlideEntry:
    """The line with the report's result."""
    return replace(
        entry,
        verdict=report.verdict,
        basis=report.basis,
        cells_counted=report.cells_counted,
        flagged=report.cells_flagged,
        reviewed=report.review["reviewed"],
    )
