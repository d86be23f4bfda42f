"""A running ``serve`` that is fed drawn fields, watched from outside: what it took, its memory."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from benchmarks.serve.drawn_folder import DrawnFolder
from benchmarks.serve.served import Browser

# docs/edge-malaria.service: nothing heard for so long is stuck.
STUCK_S = 60.0
# How often it looks: no oftener than a phone or two would, so as not to be a load itself.
_LOOK_S = 0.4


def memory_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) * 1024 / 1e6 if found else float("nan")


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class FedServer:
    """One server and what it is fed.

    Args:
        browser: of the server.
        pid: of the server.
        fields: what it is fed.
    """

    def __init__(self, browser: Browser, pid: int, fields: DrawnFolder) -> None:
        self._browser, self.pid, self.fields = browser, pid, fields
        self.memory: list[tuple[int, float]] = []
        self.longest_s = 0.0
        self.counted = self.refused = self.passed_over = 0

    def new_slide(self) -> str:
        """A slide that is being read."""
        self.fields.begin()
        made = self._browser.post("/new", sample="L-1", reader="Amina")
        where = str(made.headers["location"])
        self._browser.post(f"{where}/start")
        return where

    def read(self, where: str, most: int, until: float = float("inf")) -> int:
        """Feeds a slide until it has so many fields, or until a time; how many it has."""
        taken, changed = self._seen(where), time.monotonic()
        while taken < most and time.monotonic() < until:
            self.fields.feed(taken, most)
            time.sleep(_LOOK_S)
            now = self._seen(where)
            if now != taken:
                self.longest_s = max(self.longest_s, time.monotonic() - changed)
                taken, changed = now, time.monotonic()
                self.memory.append((self.fields.written, memory_mb(self.pid)))
            elif time.monotonic() - changed > STUCK_S:
                raise RuntimeError(
                    f"{where} has {taken} of {self.fields.of_slide} fields, none for {STUCK_S} s"
                )
        return taken

    def drain(self, where: str) -> None:
        """Waits until all that was written for a slide is taken.

        Raises:
            RuntimeError: a field is stuck.
        """
        end = time.monotonic() + STUCK_S
        while self._seen(where) < self.fields.of_slide:
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{where} has {self._seen(where)} of {self.fields.of_slide} fields after "
                    f"{STUCK_S} s"
                )
            time.sleep(_LOOK_S)

    def _seen(self, where: str) -> int:
        values = self._browser.client.get(f"{where}/live").json()
        if values["state"] != "running":
            raise RuntimeError(f"{where} is {values['state']}")
        return int(values["frame"])

    def finish(self, where: str) -> None:
        """Ends a slide and adds what its report counted."""
        self._browser.post(f"{where}/finish")
        report = self._browser.client.get(f"{where}/report.json").json()
        refused = sum(report["fields_rejected"].values())
        self.refused += refused
        self.counted += report["fields_seen"] - refused
        self.passed_over += self.fields.of_slide - report["fields_seen"]
