"""The audit trail: who did what. Lines are only ever added; the database refuses anything else.

Lines are numbered by the database, so their order holds where the clock was set back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from edge_malaria.runtime.serve.store import Store

ACTIONS = (
    "signed-in", "sign-in-failed", "signed-out", "user-added", "user-changed", "slide-made",
    "started", "paused", "finished", "uploaded", "empty-place", "signed", "downloaded", "sent",
    "sent-again",
)  # fmt: skip
_MOST_DETAIL = 300


@dataclass(frozen=True)
class AuditLine:
    """One line.

    Attributes:
        number: its place; at: ISO time by this machine's clock.
        who, role, address: of the person; address is the network's.
        action: one of ``ACTIONS``.
        slide: its id, "" where none is meant.
        detail: what more there is to say.
    """

    number: int
    at: str
    who: str
    role: str
    address: str
    action: str
    slide: str
    detail: str


class Audit:
    """Writes and reads the trail."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, who: str, role: str, address: str, action: str, slide: str = "", detail: str = ""
    ) -> None:
        """Adds one line; it is on the disk when this returns.

        Raises:
            ValueError: no such action.
            StorageError: disk full or not writable.
        """
        if action not in ACTIONS:
            raise ValueError(f"expected an action of {ACTIONS}, got {action!r}")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        values = (at, who[:100], role, address, action, slide, detail[:_MOST_DETAIL])
        with self._store.use() as connection:
            connection.execute(
                "INSERT INTO audit (at, who, role, address, action, slide, detail) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def latest(self, most: int = 200, before: int | None = None) -> list[AuditLine]:
        """The latest lines, the newest first; ``before`` leaves out those from a number on."""
        with self._store.use() as connection:
            rows = connection.execute(
                "SELECT number, at, who, role, address, action, slide, detail FROM audit "
                "WHERE ? IS NULL OR number < ? ORDER BY number DESC LIMIT ?",
                (before, before, most),
            ).fetchall()
        return [AuditLine(*row) for row in rows]
