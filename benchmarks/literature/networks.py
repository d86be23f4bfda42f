"""The networks of the literature, trained and exported here -> docs/evidence/literature.json.

    python -m benchmarks.literature.networks --data DATA --run RUN [--cells N] [--only PREFIX,...]
        [--threads T] [--nice N] [--list] [--again] [--workers N | --scheduler ADDRESS]

Groups of jobs, the cheapest first; ``--list`` names them:

- ``protocol-*``: ``sequential3`` under its own protocol to its end (128 x 128, Adam, batch 16,
  until two passes bring no lower validation loss, the first fifth of each class by sorted file name
  held back), five seeds; beside it a random fifth and the split by patient;
- ``brief-*``: every architecture, trained briefly on train patients at a size that two cores
  manage (the table states size, cells and epochs), exported to float32 and int8 with calibration
  cells, with the verdict of the parity gate;
- ``folds-*``: five folds by patient of ``sequential3`` and ``fast50`` by ``edge-malaria crossval``;
  ``leak-*``: five folds of ``fast50`` made of cells, the difference being the leak.

Each job is a process of its own and leaves RUN/jobs/<name>.json, so that a run that was stopped
(Ctrl-C, SIGTERM, SIGKILL) goes on with the next job; a training goes on after its last whole pass
(RUN/states). Jobs that the evidence holds already are kept, with the commit that they ran at,
unless ``--again`` is given; a protocol that was cut short and a network of an older plan are
repeated. The evidence is written after every job from what is there; what is missing is listed in
``not_run``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.evidence_file import EVIDENCE, ROOT, write_evidence
from benchmarks.literature.jobs import BRIEFS, cells_zip, say, work
from benchmarks.on_workers import (
    LOST,
    TIMED_OUT,
    Command,
    Ended,
    add_options,
    run_commands,
)
from edge_malaria.training.classifier.published import PUBLISHED
from edge_malaria.training.classifier.study_plan import ran_out

PROTOCOL_TARGET = 0.945
FOLDS = 5
OWN_SEEDS = (0, 1, 2, 3, 4)


# Architecture -> (batch, epochs at most). ``sequential3`` needs minutes an epoch on two cores;
# under its own protocol the validation loss was mostly lowest after the second or third.
FOLD_ARCHITECTURES = {
    arch: (PUBLISHED[arch].plan.batch, epochs)
    for arch, epochs in (("fast50", 7), ("sequential3", 3))
}


def jobs() -> list[str]:
    """Names of all jobs, the cheapest first."""
    names = [f"brief-{brief.arch}" for brief in BRIEFS[:6]]
    names += [f"folds-fast50-{fold}" for fold in range(FOLDS)]
    names += [f"leak-fast50-{fold}" for fold in range(FOLDS)]
    names += [f"protocol-own-{seed}" for seed in OWN_SEEDS]
    names += [f"brief-{brief.arch}" for brief in BRIEFS[6:]]
    names += ["protocol-random-0", "protocol-patient-0"]
    return names + [f"folds-sequential3-{fold}" for fold in range(FOLDS)]


def fold_command(name: str, given: argparse.Namespace) -> list[str]:
    """``edge-malaria crossval`` for one fold, behind ``python``."""
    kind, arch, fold = name.split("-")
    batch, epochs = FOLD_ARCHITECTURES[arch]
    return [
        *("-m", "edge_malaria.cli.app", "crossval", str(cells_zip(given).resolve())),
        *("-o", str(given.run / f"folds-{arch}"), "--arch", arch, "--protocol", "study"),
        *("--epochs", str(given.epochs or epochs), "--batch", str(batch)),
        *("--only", fold, "--threads", str(given.threads), "--json"),
        *("--by", "cell" if kind == "leak" else "patient"),
        *(("--cells", str(given.cells)) if given.cells else ()),
    ]


def command_of(name: str, given: argparse.Namespace) -> Command:
    """A job as a command."""
    if name.startswith(("folds-", "leak-")):
        words = fold_command(name, given)
    else:
        words = ["-m", "benchmarks.literature.networks", *own_options(given), "--job", name]
    return Command(name, tuple(words), given.job_minutes)


def own_options(given: argparse.Namespace) -> list[str]:
    """What a job's own process must know of the command line, with whole paths."""
    options = ["--data", str(given.data.resolve()), "--run", str(given.run)]
    options += ["--threads", str(given.threads), "--epochs", str(given.epochs)]
    return options + (["--cells", str(given.cells)] if given.cells else [])


def keep(name: str, ended: Ended, given: argparse.Namespace) -> None:
    """Writes what ``edge-malaria crossval`` printed; other jobs write theirs themselves."""
    if ended.code == 0 and name.startswith(("folds-", "leak-")):
        path = given.run / "jobs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ended.out, encoding="utf-8")


def cut_short(row: dict[str, Any]) -> bool:
    """Whether a training by protocol was stopped before the protocol ends it."""
    plan = PUBLISHED["sequential3"].plan
    history = row.get("history", [])
    return not (ran_out(history, plan.patience) or len(history) >= plan.epochs)


def older_plan(row: dict[str, Any]) -> bool:
    """Whether an architecture was trained by another plan than today's."""
    today = next(brief for brief in BRIEFS if brief.arch == row["arch"])
    same = ("size_px", "batch", "rate", "fall")
    return any(row.get(name) != getattr(today, name) for name in same)


def unfinished(name: str, path: Path) -> str | None:
    """Why a job is to be run: no result, or one that is not whole; None where it is done."""
    if not path.is_file():
        return "not started"
    row = json.loads(path.read_text(encoding="utf-8"))
    if name.startswith("protocol-") and cut_short(row):
        return f"cut short after {len(row['history'])} passes"
    if name.startswith("brief-") and older_plan(row):
        return "trained by an older plan"
    return None


def collected(run: Path) -> dict[str, Any]:
    """What the jobs that are done have found, one table a group."""
    done = {
        name: json.loads((run / "jobs" / f"{name}.json").read_text(encoding="utf-8"))
        for name in jobs()
        if (run / "jobs" / f"{name}.json").is_file()
    }
    path = run / "failed.json"
    reasons = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    waiting = {name: unfinished(name, run / "jobs" / f"{name}.json") for name in jobs()}
    own = [done[n] for n in (f"protocol-own-{seed}" for seed in OWN_SEEDS) if n in done]
    best = [entry["best_val_accuracy"] for entry in own]
    whole = not any(waiting[f"protocol-own-{seed}"] for seed in OWN_SEEDS)
    return {
        "sequential3_protocol": {
            "target": PROTOCOL_TARGET,
            "median_of_best_val_accuracy": statistics.median(best) if best else None,
            "seeds": [entry["seed"] for entry in own],
            "met": bool(whole and statistics.median(best) >= PROTOCOL_TARGET),
            "runs": [value for name, value in done.items() if name.startswith("protocol-")],
        },
        "architectures": [value for name, value in done.items() if name.startswith("brief-")],
        "five_fold_by_patient": {arch: folds("folds", arch, done) for arch in FOLD_ARCHITECTURES},
        "five_fold_by_cell": {"fast50": folds("leak", "fast50", done)},
        "not_run": {name: reasons.get(name, why) for name, why in waiting.items() if why},
    }


def restore(run: Path, evidence: Path) -> list[str]:
    """Writes the job files that ``evidence`` holds and ``run`` lacks; their names."""
    if not evidence.is_file():
        return []
    before = json.loads(evidence.read_text(encoding="utf-8"))
    found = {
        f"protocol-{row['split']}-{row['seed']}": row
        for row in before["sequential3_protocol"]["runs"]
    }
    found |= {f"brief-{row['arch']}": row for row in before["architectures"]}
    for kind, group in (("folds", "five_fold_by_patient"), ("leak", "five_fold_by_cell")):
        for arch, summed in before[group].items():
            for row in summed["per_fold"]:
                found[f"{kind}-{arch}-{row['fold']}"] = {"per_fold": [row]}
    written = []
    for name, row in found.items():
        path = run / "jobs" / f"{name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = {**row, "commit": row.get("commit", before.get("commit"))}
            path.write_text(json.dumps(kept), encoding="utf-8")
            written.append(name)
    return written


def folds(kind: str, arch: str, done: dict[str, Any]) -> dict[str, Any]:
    """Per fold, and mean and standard deviation over the folds that are there."""
    found = [done[n] for n in (f"{kind}-{arch}-{fold}" for fold in range(FOLDS)) if n in done]
    rows = [entry["per_fold"][0] for entry in found]
    keys = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "auc")
    summary = {}
    for key in keys:
        values = [row[key] for row in rows if row.get(key) is not None]
        if len(values) > 1:
            summary[key] = {"mean": statistics.mean(values), "sd": statistics.stdev(values)}
    return {"folds": [row["fold"] for row in rows], "mean_sd": summary, "per_fold": rows}


def write(given: argparse.Namespace) -> None:
    """docs/evidence/literature.json, or RUN/literature.json for a limited run."""
    from edge_malaria.files import write_json

    found = collected(given.run)
    if given.cells or given.epochs:
        write_json(given.run / "literature.json", {"cells": given.cells, **found})
        return
    command = 'python -m benchmarks.literature.networks --data "$EDGE_MALARIA_DATA" --run RUN'
    write_evidence("literature", command, found, seed=0)


def reason(ended: Ended, minutes: float) -> str:
    """Why a job has no result."""
    if ended.code == TIMED_OUT:
        return f"stopped after {minutes:g} minutes"
    if ended.code == LOST:
        return ended.out
    return f"ended with exit code {ended.code} after {ended.seconds:.0f} s"


def stopped(*_: object) -> NoReturn:
    """SIGTERM ends it as Ctrl-C does, also where a shell's ``&`` has SIGINT ignored."""
    raise KeyboardInterrupt


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "literature")
    parser.add_argument("--only", default="", help="comma-separated beginnings of job names")
    parser.add_argument("--cells", type=int, help="at most so many cells a job: a quick trial")
    parser.add_argument("--epochs", type=int, default=0, help="instead of each job's own")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--job-minutes", type=float, default=60.0, help="a job is stopped then")
    parser.add_argument("--again", action="store_true", help="repeat what the evidence holds")
    parser.add_argument("--list", action="store_true", help="name the jobs, and which are done")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    add_options(parser)
    given = parser.parse_args()
    given.run = given.run.resolve()
    return given


def main() -> int:
    """Runs what is missing; 1 where a job failed."""
    from edge_malaria.files import write_json

    given = parsed()
    if given.job:
        work(given)
        return 0
    beginnings = tuple(part for part in given.only.split(",") if part) or ("",)
    names = [name for name in jobs() if name.startswith(beginnings)]
    stored = given.run / "jobs"
    if not (given.again or given.cells or given.epochs):
        restore(given.run, EVIDENCE / "literature.json")
    if given.list:
        for name in names:
            print(f"{name:24}{unfinished(name, stored / f'{name}.json') or 'done'}")
        return 0
    signal.signal(signal.SIGTERM, stopped)
    os.nice(max(0, given.nice - os.nice(0)))
    failed: dict[str, str] = {}

    def done(command: Command, ended: Ended) -> None:
        name = command.name
        say(f"{name}: {'ok' if ended.code == 0 else f'exit {ended.code}'}, {ended.seconds:.0f} s")
        keep(name, ended, given)
        if ended.code:
            failed[name] = reason(ended, given.job_minutes)
            write_json(given.run / "failed.json", failed)
        write(given)

    missing = [name for name in names if unfinished(name, stored / f"{name}.json")]
    commands = [command_of(name, given) for name in missing]
    run_commands(commands, given.scheduler, given.workers, done)
    write(given)
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
