"""Slowed-down guessing of passwords."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Throttle:
    """Slows down guessing: after a few failures each further one doubles the wait.

    Args:
        free: so many failures cost nothing.
        first_s, most_s: the first and the longest wait.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        free: int = 5,
        first_s: float = 2.0,
        most_s: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free, self._first_s, self._most_s, self._clock = free, first_s, most_s, clock
        self._failed: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, *keys: str) -> float:
        """How long whoever comes with these keys (a name, an address) has to wait."""
        with self._lock:
            return max(self._left(key) for key in keys)

    def _left(self, key: str) -> float:
        count, last = self._failed.get(key, (0, 0.0))
        if count < self._free:
            return 0.0
        wait = min(self._first_s * 2.0 ** min(count - self._free, 20), self._most_s)
        return max(0.0, last + wait - self._clock())

    def failed(self, *keys: str) -> None:
        """Counts one failure."""
        with self._lock:
            now = self._clock()
            for key in keys:
                self._failed[key] = (self._failed.get(key, (0, 0.0))[0] + 1, now)
            # Names that nobody tried for an hour are forgotten: memory stays bounded.
            old = [k for k, (_, last) in self._failed.items() if now - last > 3600]
            for key in old:
                del self._failed[key]

    def passed(self, *keys: str) -> None:
        """Forgets earlier failures."""
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)
