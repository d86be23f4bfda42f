"""What the device sends by itself when there is a network: one line a signed slide and target.

A line is written in the transaction that notes the signature, and stays when it was sent. A slide
is queued once for each target, however often it is asked for: its line is known by the target's
name, the slide and the hash of what was signed. A lost database queues everything again; the keys
by which targets know a result are the same then, so that none is taken twice.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from edge_malaria.records import expect

_MOST_TROUBLE = 500


@dataclass(frozen=True)
class Backoff:
    """How long a failed line waits: twice as long after each failure.

    Attributes:
        first_s, most_s: the wait after the first failure, and the longest, seconds.
    """

    first_s: float = 15.0
    most_s: float = 3600.0

    def __post_init__(self) -> None:
        expect(0 < self.first_s <= self.most_s, "0 < first_s <= most_s", self.first_s)
        expect(self.most_s <= 86_400, "most_s up to 86400", self.most_s)

    def wait_s(self, tries: int) -> float:
        """The wait after so many failures, seconds.

        Args:
            tries: 1 or more.
        """
        return min(self.first_s * 2.0 ** min(tries - 1, 30), self.most_s)


@dataclass(frozen=True)
class Letter:
    """One line of the outbox.

    Attributes:
        number: its place.
        target: the name of where it goes.
        slide, signed_sha256: what is sent.
        queued, sent: ISO times by this machine's clock; sent is "" for one that waits.
        tries: failed ones so far; due_s: when the next one is due, seconds since the epoch.
        trouble: why the latest try failed, "" where none did.
    """

    number: int
    target: str
    slide: str
    signed_sha256: str
    queued: str
    tries: int
    due_s: float
    trouble: str
    sent: str


@dataclass(frozen=True)
class Waiting:
    """What one target has: letters that wait, letters sent, and when the oldest was queued."""

    target: str
    waiting: int
    sent: int
    oldest: str


_COLUMNS = ", ".join(field.name for field in fields(Letter))


class Outbox:
    """The outbox of one device.

    Args:
        connection: of ``open_database``.
        clock: seconds since the epoch.
    """

    def __init__(
        self, connection: sqlite3.Connection, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection, self._clock = connection, clock

    def queue(self, slide: str, signed_sha256: str, targets: Iterable[str]) -> None:
        """Queues one signed slide for each target; what is queued already stays as it is."""
        self._connection.executemany(
            "INSERT INTO outbox (target, slide, signed_sha256, queued) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            [(target, slide, signed_sha256, self._now()) for target in targets],
        )

    def queue_signed(self, target: str, since: str = "") -> None:
        """Queues every signed slide for one target, where it is not yet.

        Args:
            target: its name.
            since: ISO date; slides that were signed before are left out.
        """
        self._connection.execute(
            "INSERT INTO outbox (target, slide, signed_sha256, queued) "
            "SELECT ?, id, signed_sha256, ? FROM slides "
            "WHERE state = 'signed' AND signed_sha256 != '' AND signed_at >= ? "
            "ORDER BY signed_at, id ON CONFLICT DO NOTHING",
            (target, self._now(), since),
        )

    def due(self, target: str, backoff: Backoff) -> Letter | None:
        """The oldest letter whose time has come; None where none has."""
        now = self._clock()
        # A wait longer than the longest means that the clock was set back since.
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM outbox WHERE target = ? AND sent = '' "
            "AND (due_s <= ? OR due_s > ?) ORDER BY number LIMIT 1",
            (target, now, now + 2 * backoff.most_s),
        ).fetchone()
        return None if row is None else Letter(*row)

    def mark_sent(self, letter: Letter) -> None:
        """Notes that the target has it."""
        self._connection.execute(
            "UPDATE outbox SET sent = ?, trouble = '' WHERE number = ?",
            (self._now(), letter.number),
        )

    def mark_failed(self, letter: Letter, trouble: str, wait_s: float) -> None:
        """Notes why a try failed, and that the next one is due in ``wait_s`` seconds."""
        self._connection.execute(
            "UPDATE outbox SET tries = tries + 1, trouble = ?, due_s = ? WHERE number = ?",
            (trouble[:_MOST_TROUBLE], self._clock() + wait_s, letter.number),
        )

    def again(self) -> None:
        """Everything that waits is due now."""
        self._connection.execute("UPDATE outbox SET due_s = 0 WHERE sent = ''")

    def latest(self, most: int, before: int | None = None) -> list[Letter]:
        """The latest letters, the newest first; ``before`` leaves out those from a number on."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM outbox WHERE ? IS NULL OR number < ? "
            "ORDER BY number DESC LIMIT ?",
            (before, before, most),
        ).fetchall()
        return [Letter(*row) for row in rows]

    def of_slide(self, slide: str) -> list[Letter]:
        """Every letter of one slide, by target."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM outbox WHERE slide = ? ORDER BY target, number", (slide,)
        ).fetchall()
        return [Letter(*row) for row in rows]

    def counts(self) -> list[Waiting]:
        """What each target has, by name."""
        rows = self._connection.execute(
            "SELECT target, COALESCE(SUM(sent = ''), 0), COALESCE(SUM(sent != ''), 0), "
            "COALESCE(MIN(CASE WHEN sent = '' THEN queued END), '') "
            "FROM outbox GROUP BY target ORDER BY target"
        ).fetchall()
        return [Waiting(*row) for row in rows]

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
