"""kill -9 of the server at random moments, and a disk that fills -> docs/evidence/power_cuts.json.

    python -m benchmarks.serve.power_cuts [--kills 200] [--seed 17]

A person reads, reviews and signs drawn slides through the pages of the real ``serve`` process,
which sends each signed one to a FHIR server, a DHIS2 tracker and an MQTT broker on this machine.
Again and again the process is killed, at its start too, and started anew. After every kill the
database has to be whole, every field that the live view or a journal showed before and every
decision and signature that the server had said it took have to stand; in the end every slide has
to be read as if never interrupted, and every target has to hold each signed slide once.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.evidence_file import write_evidence
from benchmarks.serve.disk_full import disk_full
from benchmarks.serve.endpoints import (
    Dhis2Endpoint,
    FhirEndpoint,
    Subscriber,
    broker,
    brokers,
    push_settings,
)
from benchmarks.serve.person import Person, Remembered
from benchmarks.serve.served import address_of, started
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.store.database import NAME as DATABASE

SEED = 17
SOURCE = "sim:parasitemia=0.06,fields=4,seed=3,width=480,height=360"
# How long a server lives on average before it is killed, at most, and how often it dies while it
# starts. Many short lives and some long ones: a slide has to be signed now and then.
_LIFE_S, _LONGEST_S, _AT_START = 4.0, 20.0, 0.15
_SETTLE_S = 300.0


class PowerCuts:
    """One run.

    Args:
        folder: for everything; empty.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._dice = folder, random.Random(seed)
        self.data = folder / "data"
        self.person = Person("Amina", SOURCE)
        self.fhir, self.tracker = FhirEndpoint(), Dhis2Endpoint()
        self._stack = ExitStack()
        self._broker = brokers()[0]
        port = self._stack.enter_context(broker(self._broker, folder / "broker"))
        self._listening = Subscriber(port)
        self._push = folder / "push.toml"
        self._push.write_text(push_settings(self.fhir, self.tracker, port))
        # slide -> fields of its journal when it was last looked at.
        self._fields: dict[str, list[str]] = {}
        self.counts: Counter[str] = Counter()
        self.lost: list[str] = []

    def close(self) -> None:
        """Ends the servers."""
        self._listening.close()
        self.fhir.close()
        self.tracker.close()
        self._stack.close()

    def _start(self) -> tuple[subprocess.Popen[bytes], Path]:
        log = self._folder / f"log{self.counts['starts'] % 3}"
        self.counts["starts"] += 1
        return started(self.data, "--source", SOURCE, "--push", str(self._push), log=log), log

    def kill_once(self) -> None:
        """One life of the server, and what was left of it."""
        at_start = self._dice.random() < _AT_START
        life_s = min(self._dice.expovariate(1 / _LIFE_S), _LONGEST_S)
        running, log = self._start()
        try:
            if at_start:
                time.sleep(life_s)
                self.counts["killed_while_starting"] += 1
            else:
                self._work(address_of(running, log), time.monotonic() + life_s)
        finally:
            # Whatever it does now.
            running.kill()
            running.wait()
        self.counts["kills"] += 1
        self.check()

    def _work(self, address: str, end: float) -> None:
        with self.person.meet(address):
            while time.monotonic() < end:
                self.person.step()
                time.sleep(0.01)

    def check(self) -> None:
        """Everything that was promised stands."""
        path = self.data / DATABASE
        if not path.is_file():
            return
        with sqlite3.connect(path) as connection:
            whole = connection.execute("PRAGMA quick_check").fetchone()[0]
            states = dict(connection.execute("SELECT id, state FROM slides"))
        connection.close()
        if whole != "ok":
            self.lost.append(f"database: {whole}")
        for slide in self.person.slides:
            if slide.slide not in states:
                self.lost.append(f"{slide.slide}: not on the worklist")
            elif slide.signed and states[slide.slide] != "signed":
                self.lost.append(f"{slide.slide}: signed, and {states[slide.slide]} now")
            self._look_at(slide)

    def _look_at(self, slide: Remembered) -> None:
        folder = self.data / "slides" / slide.slide
        if not (folder / JOURNAL_NAME).is_file() or not (folder / JOURNAL_NAME).stat().st_size:
            if slide.fields or slide.decisions:
                self.lost.append(f"{slide.slide}: no journal")
            return
        journal = Journal(folder, resume=True)
        try:
            fields = [line.field for line in journal.fields()]
            reviews = [(f"{r.index}@{r.field}", str(r.decision)) for r in journal.reviews()]
            faults = journal.faults
        finally:
            journal.close()
        self.counts["damaged_lines"] += len(faults)
        before = self._fields.get(slide.slide, [])
        if fields[: len(before)] != before or len(fields) < slide.fields:
            self.lost.append(f"{slide.slide}: fields {fields}, before {before}, {slide.fields}")
        if len(set(fields)) != len(fields):
            self.lost.append(f"{slide.slide}: a field twice")
        self._fields[slide.slide] = fields
        if not _kept(slide.decisions, reviews):
            self.lost.append(f"{slide.slide}: decisions {reviews}, said {slide.decisions}")

    def settle(self) -> None:
        """Without a cut: the open slide is finished and signed, and the outbox gets empty."""
        running, log = self._start()
        try:
            end = time.monotonic() + _SETTLE_S
            with self.person.meet(address_of(running, log)) as client:
                while not self.person.done and time.monotonic() < end:
                    self.person.step(new=False)
                    time.sleep(0.01)
                while _waiting(client) and time.monotonic() < end:
                    time.sleep(0.1)
                self.counts["still_waiting"] = _waiting(client)
                first = self.person.slides[0]
                self._cells = client.get(f"{first.where}/cells.csv").text
        finally:
            running.terminate()
            running.wait(60)
        self.check()

    def figures(self) -> dict[str, Any]:
        """What was promised and what stands."""
        slides = [one for one in self.person.slides if one.signed]
        reports, events = self.fhir.reports(), self.tracker.stored
        messages = self._listening.counts()
        told = [word for one in self.person.slides for *_, word in one.decisions]
        return {
            "kills": self.counts["kills"],
            "killed_while_starting": self.counts["killed_while_starting"],
            "slides_signed": len(slides),
            "fields_kept": sum(map(len, self._fields.values())),
            "decisions_said": sum(told),
            "signatures_said": len(slides),
            "lost": self.lost,
            "damaged_lines": self.counts["damaged_lines"],
            "slides_unlike_an_uninterrupted_one": self._unlike(),
            "outbox": {
                "still_waiting": self.counts["still_waiting"],
                "broker": self._broker,
                "fhir_reports": len(reports),
                "fhir_came_again": sum(self.fhir.writes[name] - 1 for name in reports),
                "dhis2_events": len(events),
                "dhis2_came_again": sum(n - 1 for n in self.tracker.writes.values()),
                "mqtt_results": len(messages),
                "mqtt_came_twice": sum(n - 1 for n in messages.values()),
            },
        }

    def _unlike(self) -> int:
        """Slides whose table of cells differs from that of a run that nobody cut."""
        whole = self._folder / "whole"
        command = ["-m", "edge_malaria.cli.app", "screen", SOURCE, "-o", str(whole)]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        expected = (whole / "cells.csv").read_bytes()
        folders = [self.data / "slides" / one.slide for one in self.person.slides]
        return sum((folder / "cells.csv").read_bytes() != expected for folder in folders)


def _kept(said: list[tuple[str, str, bool]], there: list[tuple[str, str]]) -> bool:
    """Whether all that the server said it took is there in order, and nothing that nobody said."""
    place = 0
    for key, word, taken in said:
        if place < len(there) and there[place] == (key, word):
            place += 1
        elif taken:
            return False
    return place == len(there)


def _waiting(client: httpx.Client) -> int:
    found = re.findall(r"edge_malaria_outbox_waiting\{\S+ (\S+)", client.get("/metrics").text)
    return int(sum(map(float, found)))


def passed(figures: dict[str, Any]) -> bool:
    """Whether nothing was lost and everything was sent once."""
    outbox, signed = figures["outbox"], figures["slides_signed"]
    once = (outbox["fhir_reports"], outbox["dhis2_events"], outbox["mqtt_results"])
    return (
        not figures["lost"]
        and signed > 0
        and figures["damaged_lines"] == 0
        and figures["slides_unlike_an_uninterrupted_one"] == 0
        and outbox["still_waiting"] == 0
        and outbox["mqtt_came_twice"] == 0
        and once == (signed, signed, signed)
    )


def run(
    folder: Path, kills: int, seed: int, *, most_s: float = float("inf"), tell: bool = False
) -> dict[str, Any]:
    """Kills the server so often and says what stands.

    Args:
        folder: an empty one.
        kills: how often.
        seed: of the moments.
        most_s: no kill is begun later; there are fewer then.
        tell: prints how far it is.
    """
    cuts = PowerCuts(folder, seed)
    try:
        end = time.monotonic() + most_s
        for number in range(kills):
            if time.monotonic() > end:
                break
            cuts.kill_once()
            if tell and number % 10 == 9:
                signed = sum(one.signed for one in cuts.person.slides)
                print(number + 1, "kills;", signed, "signed;", len(cuts.lost), "lost", flush=True)
        cuts.settle()
        return cuts.figures()
    finally:
        cuts.close()


def main() -> int:
    """Measures and writes the evidence; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no kill later")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cuts = run(
            Path(folder), options.kills, options.seed, most_s=60 * options.minutes, tell=True
        )
    with tempfile.TemporaryDirectory() as folder:
        full = disk_full(Path(folder))
    figures = {"power_cuts": cuts, "disk_full": full}
    print(json.dumps(figures, indent=1))
    sound = passed(cuts) and full["passed"]
    if not options.dry:
        command = f"python -m benchmarks.serve.power_cuts --kills {options.kills}"
        command += f" --minutes {options.minutes:g}" if math.isfinite(options.minutes) else ""
        write_evidence("power_cuts", command, {"passed": sound, **figures}, options.seed)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
