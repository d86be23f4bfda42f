"""Everything that takes hours, one measurement after the other: what ``make evidence`` runs.

    python benchmarks/evidence.py --data DATA [--only parity,motion] [--again] [--runs RUNS]

Each writes docs/evidence/<name>.json. One that is done for the commit checked out is skipped, so
an interrupted run goes on where it stopped; ``--again`` repeats it. A failure is reported at the
end and does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from evidence_file import EVIDENCE, ROOT, commit

TFLM = ROOT / ".venv" / "tflm" / "bin" / "python"


def commands(data: Path, runs: Path) -> dict[str, list[str]]:
    """Evidence name -> arguments after ``python``, quick ones first."""
    cells = str(data / "nih" / "cell_images.zip")
    finder = "edge_malaria/models/default/finder.int8.tflite"
    given = ["--data", str(data)]
    script = "benchmarks/{}.py".format
    return {
        "model": [script("model_figures"), *given],
        "model-micro": [script("model_figures"), *given, "--model", "micro"],
        "drawn_cells": [script("drawn_cells")],
        "parity": [
            *(script("parity_test_cells"), "--data", cells),
            *("--reference", "edge_malaria/models/default.keras", "--arm"),
        ],
        "activation_overlay": [script("activation_overlay")],
        "field_quality": [script("field_quality"), *given],
        "cell_finding": [
            *(script("cell_finding"), *given, "--model", finder),
            *("-o", str(EVIDENCE / "cell_finding.json")),
        ],
        "malaria_fields": [script("malaria_fields"), *given],
        "abstention": ["-m", "benchmarks.abstention", *given],
        "latency_models": ["-m", "benchmarks.latency_models"],
        "latency_field": [script("latency_field")],
        "memory_fields": [script("memory_fields"), "--fields", "500"],
        "motion": [script("motion"), "--seeds", "2", "--stops", "9"],
        "drawn_slides": [script("drawn_slides"), "--seeds", "20", "--fields", "6"],
        "firmware_targets": ["-m", "benchmarks.firmware_targets"],
        "firmware_camera": ["-m", "benchmarks.firmware_camera"],
        "firmware_exactness": [
            *("-m", "benchmarks.firmware_exactness", "--tflm", str(TFLM), "--data", cells)
        ],
        "training-default": [script("training_evidence"), *given, "--bundle", "default"],
        "training-micro": [script("training_evidence"), *given, "--bundle", "micro"],
        "pruning-micro": [script("pruning_evidence"), *given, "--model", "micro"],
        "parity_false_alarms": [
            *(script("parity_false_alarms"), "--data", cells, "--work", str(runs / "false-alarms"))
        ],
        "crossval": [
            *("-m", "benchmarks.crossval_evidence", *given, "--run", str(runs / "crossval"))
        ],
        "label_contradictions": [
            *("-m", "benchmarks.label_contradictions", *given, "--run", str(runs / "crossval"))
        ],
        "site_adaptation": ["-m", "benchmarks.site_adaptation", *given],
        "pareto": ["-m", "benchmarks.pareto", *given, "--run", str(runs / "pareto")],
        "baselines": [
            *("-m", "benchmarks.baselines_evidence", *given, "--runs", str(runs / "baselines"))
        ],
        "slide_coverage": [script("slide_coverage"), *given, "--run", str(runs / "crossval")],
        "segmentation_fcn": [
            script("segmentation_fcn"),
            *given,
            "--model",
            str(runs / "fcn.keras"),
        ],
        "literature": [
            *("-m", "benchmarks.literature_evidence", *given, "--run", str(runs / "literature"))
        ],
    }


def is_done(name: str) -> bool:
    """Whether the evidence was written at the commit that is checked out."""
    path = EVIDENCE / f"{name}.json"
    if not path.is_file():
        return False
    written = str(json.loads(path.read_text(encoding="utf-8")).get("commit", ""))
    return written.rstrip("+")[:7] == commit().rstrip("+")[:7]


def main() -> int:
    """Runs what is asked for; 1 where any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "evidence")
    parser.add_argument("--only", default="", help="comma-separated names; default all")
    parser.add_argument("--again", action="store_true", help="repeat what is done")
    given = parser.parse_args()
    if not (given.data / "nih" / "cell_images.zip").is_file():
        parser.error("--data names no folder with nih/cell_images.zip (set EDGE_MALARIA_DATA)")
    given.runs.mkdir(parents=True, exist_ok=True)
    every = commands(given.data.resolve(), given.runs.resolve())
    names = [name for name in given.only.split(",") if name] or list(every)
    unknown = sorted(set(names) - set(every))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(every)}")
    failed = []
    for name in names:
        if is_done(name) and not given.again:
            print(f"{name}: done at this commit")
            continue
        started = time.monotonic()
        code = subprocess.run([sys.executable, *every[name]], cwd=ROOT, check=False).returncode
        print(
            f"{name}: {'ok' if code == 0 else f'exit {code}'}, {time.monotonic() - started:.0f} s"
        )
        failed += [name] * (code != 0)
    subprocess.run([sys.executable, "benchmarks/figures.py", "--write"], cwd=ROOT, check=False)
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
