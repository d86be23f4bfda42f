"""kill -9 during a review, many times, and two readers on one slide -> review_durability.json.

    python -m benchmarks.slides.review_durability [--times 200]

A drawn slide is screened by the shipped bundle. Again and again another process decides on its
flagged cells as fast as it can, says each decision once it was taken, and is killed after a random
while. Then every decision that it had said must stand in the journal, and no line be damaged.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.slides.drawn_slides import screened_into
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.review.session import ReviewSession

SEED = 29
SIM = "sim:parasitemia=0.1,fields=3,seed=5"
WORKER = """
import sys
from pathlib import Path
from edge_malaria.runtime.review.session import ReviewSession
session = ReviewSession(Path(sys.argv[1]))
while True:
    for word in ("parasite", "no-parasite", "unsure"):
        for cell in session.cells:
            session.decide(cell.field, cell.index, word, sys.argv[2])
            print(cell.field, cell.index, word, sep="\\t", flush=True)
"""


def killed(directory: Path, reader: str, after_s: float) -> list[tuple[str, int, str]]:
    """The decisions that a reader's process had said when it was killed."""
    command = [sys.executable, "-c", WORKER, str(directory), reader]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines(keepends=True)]
    whole = [line.decode().rstrip("\n").split("\t") for line in lines if line.endswith(b"\n")]
    return [(field, int(index), word) for field, index, word in whole]


def kills(directory: Path, times: int) -> dict[str, Any]:
    """Kills ``times`` reviews and counts what was said and what was kept."""
    rng = random.Random(SEED)
    said = kept = lost = faults = torn = 0
    for number in range(times):
        reader = f"Reader {number}"
        told = killed(directory, reader, rng.uniform(0.0, 0.08))
        session = ReviewSession(directory)
        own = [r for r in session.journal.reviews() if r.reader == reader]
        there = [(r.field, r.index, r.decision) for r in own]
        said, kept = said + len(told), kept + len(there)
        lost += there[: len(told)] != told
        faults += len(session.journal.faults)
        session.close()
        torn += (directory / "journal.torn").exists()
        if number % 25 == 24:
            print(number + 1, "killed;", said, "said;", kept, "kept;", lost, "lost", flush=True)
    return {
        "times_killed": times,
        "decisions_said": said,
        "decisions_kept": kept,
        "reviews_with_a_lost_decision": lost,
        "damaged_lines": faults,
    }


def two_readers(directory: Path) -> dict[str, Any]:
    """Two readers who contradict each other on one cell: what the report says."""
    session = ReviewSession(directory)
    for reader, confirmed in (("Ana", 1), ("Ben", 0)):
        for place, cell in enumerate(session.cells):
            word = "parasite" if place < confirmed else "no-parasite"
            session.decide(cell.field, cell.index, word, reader)  # type: ignore[arg-type]
    report = session.write_report()
    lines = sum(1 for _ in session.journal.reviews())
    session.close()
    page = (directory / "report.html").read_text(encoding="utf-8")
    return {
        "flagged": report.review["flagged"],
        "lines_kept": lines,
        "verdict": report.verdict,
        "cause": report.details["statistics"]["cause"],
        "conflict_shown": "readers disagree" in page,
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    bundle = read_bundle(shipped_bundle())
    with tempfile.TemporaryDirectory() as folder:
        if not screened_into(bundle, SIM, Path(folder) / "pair").report.cells_flagged:
            raise SystemExit(f"no cell of {SIM} is flagged: nothing to review. Draw another slide.")
        figures: dict[str, Any] = {
            "classifier_sha256": shipped_sha256(),
            "two_readers": two_readers(Path(folder) / "pair"),
        }
        screened_into(bundle, SIM, Path(folder) / "killed")
        figures["kill_9"] = kills(Path(folder) / "killed", options.times)
    print(figures)
    if not options.dry:
        command = f"python -m benchmarks.slides.review_durability --times {options.times}"
        write_evidence("review_durability", command, figures, SEED)


if __name__ == "__main__":
    main()
