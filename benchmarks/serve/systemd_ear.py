"""Hears what a service tells systemd, and how long it kept silent (sd_notify(3))."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from pathlib import Path


class SystemdEar:
    """Listens on a socket of its own.

    Args:
        path: of the socket.
        watchdog_s: how often at least a sign of life is wanted.
    """

    def __init__(self, path: Path, watchdog_s: float) -> None:
        self.environment = {
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(int(watchdog_s * 1e6)),
        }
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.signs: list[float] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                words = self._socket.recv(4096)
            except OSError:
                return
            if words.startswith((b"WATCHDOG=1", b"READY=1")):
                self.signs.append(time.monotonic())

    def longest_silence_s(self) -> float:
        """The longest time between two signs of life, up to now."""
        signs = [*self.signs, time.monotonic()]
        return max((b - a for a, b in itertools.pairwise(signs)), default=float("inf"))

    def close(self) -> None:
        """Ends it."""
        self._socket.close()
