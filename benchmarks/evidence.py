"""Everything that takes hours, one measurement after the other: what ``make evidence`` runs.

    python -m benchmarks.evidence --data DATA [--only parity,motion] [--again] [--runs RUNS]
        [--workers N | --scheduler ADDRESS]

What is trained on the way lies in RUNS (runs/evidence). The networks that ``make model`` fitted
without a laboratory are read from the folder ``laboratories`` beside it (runs/laboratories).

Each writes docs/evidence/<name>.json. One that is done for the commit checked out is skipped, so
an interrupted run goes on where it stopped; ``--again`` repeats it. A failure is reported at the
end and does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.evidence_file import EVIDENCE, ROOT, commit
from benchmarks.on_workers import Command, Ended, add_options, run_commands

# They take times or kill processes: they run alone, behind the others, on this machine.
ALONE = ("latency_models", "latency_field", "memory_fields", "growth", "power_cuts", "long_run")
TFLM = ROOT / ".venv" / "tflm" / "bin" / "python"


def left_out(runs: Path) -> list[str]:
    """Names both networks that have not seen a laboratory, as ``make model`` left them in ``runs``.

    Returns:
        ``--left-out LABORATORY=FILE,SECOND`` of each laboratory.
    """
    pairs = (("bccd", "pbc"), ("chula", "raabin"), ("cheap_rig", "draaslan256"))
    words = []
    for pair in pairs:
        folders = [runs / f"{model}-without-{'-'.join(pair)}" for model in ("default", "second")]
        files = ",".join(str(folder / "float.keras") for folder in folders)
        words += [word for name in pair for word in ("--left-out", f"{name}={files}")]
    return words


def commands(data: Path, runs: Path) -> dict[str, list[str]]:
    """Evidence name -> arguments after ``python``, quick ones first."""
    cells = str(data / "nih" / "cell_images.zip")
    finder = "edge_malaria/models/default/finder.int8.tflite"
    given = ["--data", str(data)]
    return {
        "model": ["-m", "benchmarks.cells.model_figures", *given],
        "model-micro": ["-m", "benchmarks.cells.model_figures", *given, "--model", "micro"],
        "fuzz": ["-m", "benchmarks.fuzz.run", "--cases", "510000", "--atheris", "60"],
        "drawn_cells": ["-m", "benchmarks.cells.drawn_cells"],
        "parity": [
            *("-m", "benchmarks.parity.real_cells", "--data", cells),
            *("--reference", "edge_malaria/models/default.keras", "--arm"),
        ],
        "activation_overlay": ["-m", "benchmarks.cells.activation_overlay"],
        "field_quality": ["-m", "benchmarks.fields.field_quality", *given],
        "cell_finding": [
            *("-m", "benchmarks.fields.cell_finding", *given, "--model", finder),
            *("-o", str(EVIDENCE / "cell_finding.json")),
        ],
        "field_peers": ["-m", "benchmarks.fields.field_peers", *given],
        "malaria_fields": ["-m", "benchmarks.fields.malaria_fields", *given],
        "abstention": ["-m", "benchmarks.cells.abstention", *given],
        "latency_models": ["-m", "benchmarks.speed.latency_models"],
        "latency_field": ["-m", "benchmarks.speed.latency_field"],
        "memory_fields": ["-m", "benchmarks.speed.memory_fields", "--fields", "500"],
        "instructions": ["-m", "benchmarks.speed.instructions", "--write"],
        "arm_instructions": ["-m", "benchmarks.speed.arm_instructions"],
        "growth": ["-m", "benchmarks.speed.growth"],
        "motion": ["-m", "benchmarks.fields.motion", "--seeds", "2", "--stops", "9"],
        "drawn_slides": ["-m", "benchmarks.slides.drawn_slides", "--seeds", "20", "--fields", "8"],
        "firmware_targets": ["-m", "benchmarks.firmware.targets"],
        "firmware_camera": ["-m", "benchmarks.firmware.camera"],
        "firmware_exactness": [
            *("-m", "benchmarks.firmware.exactness", "--tflm", str(TFLM), "--data", cells)
        ],
        "training-default": [
            "-m",
            "benchmarks.cells.training",
            *given,
            "--bundle",
            "default",
        ],
        "training-micro": ["-m", "benchmarks.cells.training", *given, "--bundle", "micro"],
        "pruning-micro": ["-m", "benchmarks.cells.pruning", *given, "--model", "micro"],
        "parity_false_alarms": [
            *(
                "-m",
                "benchmarks.parity.false_alarms",
                "--data",
                cells,
                "--work",
                str(runs / "false-alarms"),
            )
        ],
        "crossval": [
            *(
                "-m",
                "benchmarks.literature.crossval",
                *given,
                "--run",
                str(runs / "crossval"),
            )
        ],
        "label_contradictions": [
            *(
                "-m",
                "benchmarks.cells.contradictions",
                *given,
                "--run",
                str(runs / "crossval"),
            )
        ],
        "site_adaptation": ["-m", "benchmarks.cells.site_adaptation", *given],
        "pareto": ["-m", "benchmarks.cells.pareto", *given, "--run", str(runs / "pareto")],
        "baselines": [
            *(
                "-m",
                "benchmarks.literature.classical",
                *given,
                "--runs",
                str(runs / "baselines"),
            )
        ],
        "laboratory_scores": [
            "-m",
            "benchmarks.slides.laboratory_scores",
            *given,
            "-o",
            str(runs / "laboratory-scores"),
            *left_out(runs.parent / "laboratories"),
        ],
        "asked_again": ["-m", "benchmarks.cells.asked_again", *given],
        "error_families": ["-m", "benchmarks.slides.error_families"],
        "slide_coverage": [
            "-m",
            "benchmarks.slides.slide_coverage",
            str(runs / "laboratory-scores"),
        ],
        "site_iml": ["-m", "benchmarks.slides.site_iml", *given],
        "review_durability": ["-m", "benchmarks.slides.review_durability"],
        "power_cuts": ["-m", "benchmarks.serve.power_cuts", "--kills", "200"],
        "page_weight": ["-m", "benchmarks.serve.page_weight"],
        "long_run": ["-m", "benchmarks.serve.long_run", "--fields", "20000", "--phones", "20"],
        "http_fuzz": ["-m", "benchmarks.serve.http_fuzz", "--examples", "60"],
        "segmentation_fcn": [
            "-m",
            "benchmarks.fields.segmentation_fcn",
            *given,
            "--model",
            str(runs / "fcn.keras"),
        ],
        "literature": [
            *(
                "-m",
                "benchmarks.literature.networks",
                *given,
                "--run",
                str(runs / "literature"),
            )
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
    add_options(parser)
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

    def done(command: Command, ended: Ended) -> None:
        code = ended.code
        print(ended.out, end="")
        print(f"{command.name}: {'ok' if code == 0 else f'exit {code}'}, {ended.seconds:.0f} s")
        failed.extend([command.name] * (code != 0))

    missing = []
    for name in names:
        if is_done(name) and not given.again:
            print(f"{name}: done at this commit")
        else:
            missing.append(Command(name, tuple(every[name])))
    run_commands([c for c in missing if c.name not in ALONE], given.scheduler, given.workers, done)
    run_commands([c for c in missing if c.name in ALONE], None, 1, done)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.documents.tables", "--write"], cwd=ROOT, check=False
    )
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
