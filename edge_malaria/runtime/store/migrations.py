"""The database's tables, as numbered steps. A shipped step is never edited: a new one follows."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    # 1: the worklist.
    """
    CREATE TABLE slides (
        id TEXT PRIMARY KEY,
        sample TEXT NOT NULL,
        reader TEXT NOT NULL DEFAULT '',
        site TEXT NOT NULL DEFAULT '',
        rbc_per_ul REAL NOT NULL CHECK (rbc_per_ul > 0),
        state TEXT NOT NULL CHECK (state IN ('new', 'running', 'paused', 'finished', 'signed')),
        created TEXT NOT NULL,
        verdict TEXT NOT NULL DEFAULT '',
        basis TEXT NOT NULL DEFAULT '',
        cells_counted INTEGER NOT NULL DEFAULT 0 CHECK (cells_counted >= 0),
        flagged INTEGER NOT NULL DEFAULT 0 CHECK (flagged >= 0),
        reviewed INTEGER NOT NULL DEFAULT 0 CHECK (reviewed >= 0),
        signed_by TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX slides_by_created ON slides (created DESC, id);
    """,
)
