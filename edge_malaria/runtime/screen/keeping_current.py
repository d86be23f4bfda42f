"""The report of a slide that is still being read, written now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

# A report of a long slide takes a while to write: at most this share of the time goes into it.
_MOST_SHARE = 0.05


class KeptCurrent:
    """Writes after a field where the last time is long enough ago.

    Args:
        write: writes the report.
        every_s: not more often than this.
    """

    def __init__(self, write: Callable[[], object], every_s: float = 10.0) -> None:
        self._write, self._every_s = write, every_s
        # The first field shows at once that all is well.
        self._next = 0.0

    def step(self) -> None:
        """Called after each field.

        Raises:
            StorageError: disk full or not writable.
        """
        started = time.monotonic()
        if started < self._next:
            return
        self._write()
        ended = time.monotonic()
        self._next = ended + max(self._every_s, (ended - started) / _MOST_SHARE)
