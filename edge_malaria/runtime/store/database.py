"""Opening the database: whole, durable, and at the version that this program writes.

WAL with synchronous=FULL: what was committed is on the disk before the call returns, a power cut
included (sqlite.org, "PRAGMA synchronous"). Every connection gets the same pragmas; the file is
looked over at start (``quick_check``), and one that is damaged is refused with what to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_malaria.disk_sync import fsync_directory
from edge_malaria.errors import DataError, StorageError
from edge_malaria.runtime.store.disk import check_keeps
from edge_malaria.runtime.store.migrations import MIGRATIONS

NAME = "store.sqlite3"
# Stands in a data folder for as long as a backup is being restored into it.
RESTORING = ".restoring"
BUSY_TIMEOUT_MS = 10_000
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA trusted_schema = OFF",
)


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours.

    Raises:
        DataError: the file is damaged or no database.
        StorageError: disk full, not writable, or in use for too long.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path}: {error}. Is the disk full or write-protected?") from error
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"{path} is damaged or no database: {error}. Restore a backup, or move it away and "
            "start again: slides are read anew from their journals."
        ) from error


def open_database(data: Path) -> sqlite3.Connection:
    """Opens (or makes) the database below ``data`` and brings it to this program's version.

    Returns:
        A connection that any thread may use, one at a time; rows can be asked by name.

    Raises:
        DataError: damaged, written by a newer version, or half a restored backup.
        StorageError: not writable, or a disk that forgets.
    """
    if (data / RESTORING).exists():
        raise DataError(
            f"{data} holds a part of a backup: its restoring was interrupted. Remove the folder "
            "and restore again."
        )
    data.mkdir(parents=True, exist_ok=True)
    check_keeps(data)
    path = data / NAME
    with sqlite_errors(path):
        connection = connect(path)
        try:
            _check(path, connection)
            _migrate(path, connection)
        except BaseException:
            connection.close()
            raise
    fsync_directory(data)
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection with this project's pragmas, in autocommit: ``transaction`` groups writes."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing; the write lock is taken at once, so that two writers never deadlock."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations the database has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check(path: Path, connection: sqlite3.Connection) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise DataError(
            f"{path} is damaged ({found[0]}). Restore a backup, or move it away and start again: "
            "slides are read anew from their journals."
        )


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    have = version_of(connection)
    if have > len(MIGRATIONS):
        raise DataError(
            f"{path} has version {have}, this edge-malaria knows {len(MIGRATIONS)}. "
            "Update edge-malaria."
        )
    for number in range(have, len(MIGRATIONS)):
        with transaction(connection):
            for statement in _statements(MIGRATIONS[number]):
                connection.execute(statement)
            # Inside the transaction: a power cut leaves the step done and numbered, or neither.
            connection.execute(f"PRAGMA user_version = {number + 1}")


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: ``executescript`` would commit before it starts."""
    waiting = ""
    for line in script.splitlines(keepends=True):
        waiting += line
        if sqlite3.complete_statement(waiting):
            yield waiting
            waiting = ""
