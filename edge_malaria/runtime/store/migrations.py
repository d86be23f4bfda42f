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
    # 2: where a slide's fields come from, who signed when, users, their sessions, the audit trail.
    """
    ALTER TABLE slides ADD COLUMN source TEXT NOT NULL DEFAULT '';
    ALTER TABLE slides ADD COLUMN signed_at TEXT NOT NULL DEFAULT '';
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL CHECK (role IN ('reader', 'supervisor', 'admin')),
        password_hash TEXT NOT NULL,
        created TEXT NOT NULL,
        disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1))
    ) STRICT;
    CREATE TABLE sessions (
        token_sha256 TEXT PRIMARY KEY,
        user TEXT NOT NULL,
        created_s REAL NOT NULL,
        seen_s REAL NOT NULL
    ) STRICT;
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        role TEXT NOT NULL,
        address TEXT NOT NULL,
        action TEXT NOT NULL,
        slide TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'a line of the audit trail is never changed'); END;
    CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'a line of the audit trail is never deleted'); END;
    """,
    # 3: the hash of what was signed.
    """
    ALTER TABLE slides ADD COLUMN signed_sha256 TEXT NOT NULL DEFAULT '';
    """,
    # 4: what leaves the device by itself; a line stays when it was sent.
    """
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        target TEXT NOT NULL,
        slide TEXT NOT NULL,
        signed_sha256 TEXT NOT NULL,
        queued TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
        due_s REAL NOT NULL DEFAULT 0,
        trouble TEXT NOT NULL DEFAULT '',
        sent TEXT NOT NULL DEFAULT '',
        UNIQUE (target, slide, signed_sha256)
    ) STRICT;
    CREATE INDEX outbox_that_waits ON outbox (target, due_s) WHERE sent = '';
    """,
)
