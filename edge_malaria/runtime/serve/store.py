"""The database, for many threads: one at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_malaria.runtime.store.database import NAME, open_database, sqlite_errors


class Store:
    """The device's database.

    Args:
        data: the data folder; made where it is missing.

    Raises:
        DataError, StorageError: see ``open_database``.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self._connection = open_database(data)
        self._lock = threading.RLock()

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone as long as it lasts.

        Raises:
            DataError, StorageError: the file is damaged, the disk is full.
        """
        with self._lock, sqlite_errors(self.data / NAME):
            yield self._connection

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()
