"""Feeds damaged files to everything that reads one: no crash, no hang, no traceback.

    python -m benchmarks.fuzz.run --cases 500000      # all of it, into docs/evidence/fuzz.json
    python -m benchmarks.fuzz.run --cases 2000 --only index      # a part, printed
    python -m benchmarks.fuzz.run --atheris 60        # coverage-guided, so many seconds a target

Case i of a target is the same on every machine: it is drawn from the seed, the target's name and
i. A child process runs them, so that a crash of a decoder is a finding of the parent. The
coverage-guided cases need ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import write_evidence
from benchmarks.fuzz.mutate import mutated

# A case of the largest file takes some milliseconds.
HANG_S = 10
_NAME = "fuzz"


class _Hang(BaseException):
    pass


def _hang(number: int, frame: Any) -> None:
    raise _Hang(f"no answer in {HANG_S} s")


def work(name: str, seed: int, start: int, count: int, progress: Path) -> dict[str, Any]:
    """Runs cases in this process; ``progress`` always holds the number of the one that runs."""
    from benchmarks.fuzz.outcomes import outcome
    from benchmarks.fuzz.targets import targets

    target = targets()[name]
    signal.signal(signal.SIGALRM, _hang)
    found: Counter[str] = Counter()
    first: dict[str, int] = {}
    slowest = 0.0
    with progress.open("r+b", buffering=0) as note:
        for case in range(start, start + count):
            data = mutated(random.Random(f"{seed}:{name}:{case}"), target.seeds)
            note.seek(0)
            note.write(b"%012d" % case)
            began = time.monotonic()
            signal.alarm(HANG_S)
            said = outcome(target, data)
            signal.alarm(0)
            slowest = max(slowest, time.monotonic() - began)
            found[said] += 1
            first.setdefault(said, case)
    findings = {s: {"cases": n, "first": first[s]} for s, n in found.items()
                if s not in ("read", "refused")}  # fmt: skip
    return {
        "cases": count,
        "read": found["read"],
        "refused": found["refused"],
        "slowest_s": round(slowest, 3),
        "findings": findings,
    }


def _child(name: str, seed: int, start: int, count: int) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile() as note:
        note.write(b"%012d" % start)
        note.flush()
        words = ["--worker", name, "--seed", str(seed), "--start", str(start)]
        command = [sys.executable, "-m", "benchmarks.fuzz.run", *words, "--cases", str(count)]
        ran = subprocess.run(
            [*command, "--progress", note.name],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if ran.returncode == 0:
            return dict(json.loads(ran.stdout.splitlines()[-1]))
        case = int(Path(note.name).read_bytes()[:12])
        tail = (ran.stderr.strip().splitlines() or ["?"])[-1][:160]
        said = f"the process ended with {ran.returncode}: {tail}"
        return {
            "cases": case - start + 1, "read": 0, "refused": 0, "slowest_s": 0.0,
            "findings": {said: {"cases": 1, "first": case}},
        }  # fmt: skip


def run_target(name: str, seed: int, cases: int) -> dict[str, Any]:
    """All cases of a target, in children of at most 20,000; a crash costs one case."""
    total: dict[str, Any] = {"cases": 0, "read": 0, "refused": 0, "slowest_s": 0.0, "findings": {}}
    while total["cases"] < cases:
        part = _child(name, seed, total["cases"], min(20_000, cases - total["cases"]))
        for key in ("cases", "read", "refused"):
            total[key] += part[key]
        total["slowest_s"] = max(total["slowest_s"], part["slowest_s"])
        for said, told in part["findings"].items():
            kept = total["findings"].setdefault(said, {"cases": 0, "first": told["first"]})
            kept["cases"] += told["cases"]
    return total


def guided(name: str, seconds: int) -> dict[str, Any]:
    """Coverage-guided cases of one target, in a child process."""
    command = [sys.executable, "-m", "benchmarks.fuzz.guided", name, str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    runs = [w for line in ran.stderr.splitlines() if line.startswith("Done ") for w in line.split()]
    clean = ran.returncode == 0
    tail = [] if clean else [line for line in ran.stderr.splitlines() if "FINDING" in line][:3]
    why = [] if clean else tail or [f"ended with {ran.returncode}: {ran.stderr[-200:]}"]
    return {"cases": int(runs[1]) if runs else 0, "seconds": seconds, "findings": why}


def _figures(drawn: dict[str, Any], chosen: dict[str, Any], names: list[str]) -> dict[str, Any]:
    every = [*drawn.values(), *chosen.values()]
    return {
        "cases": sum(part["cases"] for part in every),
        "findings": sum(len(part["findings"]) for part in every),
        "targets": drawn,
        "guided": chosen,
        "not_run": [name for name in names if name not in drawn and name not in chosen],
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one target; nothing is written")
    parser.add_argument("--atheris", type=int, default=0, metavar="SECONDS", help="a target")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        done = work(options.worker, options.seed, options.start, options.cases, options.progress)
        print(json.dumps(done))
        return 0
    from benchmarks.fuzz.targets import targets

    shares = {name: target.share for name, target in targets().items()}
    if options.only:
        shares = {options.only: shares[options.only]}
    whole = sum(shares.values())
    random_cases: dict[str, Any] = {}
    guided_cases: dict[str, Any] = {}
    figures = _figures({}, {}, sorted(shares))
    for name, share in shares.items():
        if options.cases:
            cases = max(1, round(options.cases * share / whole))
            random_cases[name] = run_target(name, options.seed, cases)
            print(name, json.dumps(random_cases[name]), flush=True)
        if options.atheris:
            guided_cases[name] = guided(name, options.atheris)
            print(name, "guided", json.dumps(guided_cases[name]), flush=True)
        # After every target, so that an interrupted run leaves what it has shown.
        figures = _figures(random_cases, guided_cases, sorted(shares))
        if not options.only:
            command = f"python -m benchmarks.fuzz.run --cases {options.cases}"
            command += f" --atheris {options.atheris}" if options.atheris else ""
            write_evidence(_NAME, command, figures, options.seed)
    print(f"{figures['cases']} cases, {figures['findings']} findings")
    return 1 if figures["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
