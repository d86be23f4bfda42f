"""Many slides at once: two workers against one, kills, memory -> docs/evidence/batch_scale.json.

    python -m benchmarks.slides.batch_scale [--speed 200] [--kills 60] [--tiny 10000]

``--speed``: so many drawn slides on one worker and on two, each from an empty directory.
``--kills``: so many slides through the real ``batch`` command, whose workers and whose client are
killed again and again; each slide has to be in the table once, counted as if nobody was killed.
``--tiny``: a manifest of slides of one small field; the memory of client and scheduler, which are
one process here, in the last quarter against the second. 0 leaves a part as the evidence has it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import EVIDENCE, commit, write_evidence
from edge_malaria.batch.cluster import open_client
from edge_malaria.batch.manifest import Slide
from edge_malaria.batch.scheduler import run_batch
from edge_malaria.batch.slide_task import ROW, SLIDES, Row, Settings
from edge_malaria.bundle.shipped import shipped_bundle

SEED = 41
PARTS = ("speed", "kills", "tiny")
SPEED_LIMIT, GROWTH_LIMIT = 1.7, 1.05
_DRAWN = "sim:parasitemia=0.05,fields=2,seed={seed},width=480,height=360,cell_diameter_px=40"
_TINY = "sim:parasitemia=0.05,fields=1,seed={seed},width=160,height=120,cell_diameter_px=40"
# A worker is killed after so many slides at most, the command after so many workers.
_BETWEEN, _SHOTS = 5, 4
_MOST_S = 1800.0


def _slides(count: int, source: str) -> tuple[Slide, ...]:
    return tuple(Slide(f"S{n:05d}", source.format(seed=n)) for n in range(count))


def _settings(out: Path) -> Settings:
    return Settings(str(out), str(shipped_bundle()))


def _counts(row: Row) -> list[Any]:
    return [row.verdict, row.cells_counted, row.cells_positive, row.status]


def speed(folder: Path, count: int) -> dict[str, Any]:
    """Seconds on one worker and on two; the workers' start and the first slides are left out."""
    slides, took = _slides(count, _DRAWN), {}
    for workers in (1, 2):
        out = folder / f"w{workers}"
        with open_client(None, workers, lambda words: None) as client:
            # Each worker opens the bundle once: that is no part of a slide.
            run_batch(_slides(4 * workers, _TINY), _settings(folder / f"warm{workers}"), client)
            started = time.monotonic()
            run_batch(slides, _settings(out), client)
            took[workers] = time.monotonic() - started
    return {
        "slides": count,
        "one_worker_s": round(took[1], 1),
        "two_workers_s": round(took[2], 1),
        "times_as_fast": round(took[1] / took[2], 3),
    }


def tiny(folder: Path, count: int) -> dict[str, Any]:
    """The memory of client and scheduler while a long manifest is worked off."""
    memory: list[float] = []
    status = Path("/proc/self/statm")

    def step(_: Row) -> None:
        pages = int(status.read_text().split()[1])
        memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    started = time.monotonic()
    with open_client(None, 2, lambda words: None) as client:
        rows = run_batch(_slides(count, _TINY), _settings(folder / "tiny"), client, step)
    second, last = memory[count // 4 : count // 2], memory[3 * count // 4 :]
    early, late = statistics.median(second), statistics.median(last)
    return {
        "slides": count,
        "done": sum(row.status == "done" for row in rows.values()),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "second_quarter_mb": round(early, 1),
        "last_quarter_mb": round(late, 1),
        "last_by_second": round(late / early, 4),
    }


def _children(pid: int) -> list[int]:
    """Processes below ``pid`` that hold slides: dask's workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
    return found


def _one_life(command: list[str], out: Path, dice: random.Random, killed: dict[str, int]) -> bool:
    """The command, until it ends or is killed; whether it ended.

    After every few slides one of its workers is killed, or the command itself.
    """
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end, shots = time.monotonic() + _MOST_S, dice.randint(1, _SHOTS)
    wanted = _done(out) + dice.randint(1, _BETWEEN)
    try:
        while running.poll() is None and shots:
            if time.monotonic() > end:
                raise RuntimeError("the slides were not done in time")
            workers = _children(running.pid)
            if _done(out) >= wanted and workers:
                # In the midst of a slide, whichever it is at.
                time.sleep(dice.random())
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(workers), signal.SIGKILL)
                    killed["workers"] += 1
                wanted, shots = _done(out) + dice.randint(1, _BETWEEN), shots - 1
            time.sleep(0.05)
        return running.poll() == 0
    finally:
        if running.poll() is None:
            running.kill()
            killed["clients"] += 1
        running.wait()


def _done(out: Path) -> int:
    return len(list(out.glob(f"{SLIDES}/*/{ROW}")))


def kills(folder: Path, count: int) -> dict[str, Any]:
    """Slides whose workers and client are killed, against the same slides left alone."""
    slides = _slides(count, _DRAWN)
    manifest = folder / "slides.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("slide", "source"), *((s.name, s.source) for s in slides)])
    with open_client(None, 1, lambda words: None) as client:
        calm = run_batch(slides, _settings(folder / "calm"), client)
    out, dice, killed = folder / "killed", random.Random(SEED), {"workers": 0, "clients": 0}
    command = [sys.executable, "-m", "edge_malaria.cli.app", "batch", str(manifest), "-o", str(out)]
    command += ["--workers", "2"]
    lives = 1
    while not _one_life(command, out, dice, killed):
        lives += 1
        if lives > count:
            raise RuntimeError(f"the command was begun {lives} times and never ended well")
        # Its workers notice within a moment and free the slides that they were at.
        time.sleep(2)
    table = list(csv.DictReader((out / "slides.csv").read_text().splitlines()))
    kept = {s.name: json.loads((out / SLIDES / s.name / ROW).read_text()) for s in slides}
    names = ("verdict", "cells_counted", "cells_positive", "status")
    unlike = [n for n, row in kept.items() if [row[k] for k in names] != _counts(calm[n])]
    return {
        "slides": count,
        "lives_of_the_command": lives,
        "workers_killed": killed["workers"],
        "clients_killed": killed["clients"],
        "rows": len(table),
        "each_once": [row["slide"] for row in table] == [slide.name for slide in slides],
        "unlike_an_undisturbed_run": unlike,
    }


def passed(figures: dict[str, Any]) -> bool:
    """Whether every part that was run is within its limits."""
    fast, shot, flat = (figures.get(name) for name in ("speed", "kills", "tiny"))
    return (
        (fast is None or fast.get("times_as_fast", 0.0) >= SPEED_LIMIT)
        and (shot is None or (shot["each_once"] and not shot["unlike_an_undisturbed_run"]))
        and (flat is None or (flat["done"] == flat["slides"]))
        and (flat is None or flat["last_by_second"] <= GROWTH_LIMIT)
    )


def store(figures: dict[str, Any]) -> None:
    """Writes the parts measured now beside those of earlier runs."""
    path = EVIDENCE / "batch_scale.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    parts = {name: kept[name] for name in PARTS if name in kept} | figures
    found = {"passed": passed(parts), **parts, "cores": os.cpu_count()}
    write_evidence("batch_scale", "python -m benchmarks.slides.batch_scale", found, SEED)


def main() -> int:
    """Measures and writes the evidence; 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--tiny", type=int, default=10_000)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for name, measure in (("speed", speed), ("kills", kills), ("tiny", tiny)):
        count = getattr(options, name)
        if not count:
            continue
        with tempfile.TemporaryDirectory() as folder:
            load = round(os.getloadavg()[0], 1)
            figures[name] = {**measure(Path(folder), count), "commit": commit(), "load": load}
        print(name, json.dumps(figures[name]), file=sys.stderr, flush=True)
        if not options.dry:
            store(figures)
    return 0 if passed(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
