"""How the cost grows with fields, cells and workers -> docs/evidence/growth.json, docs/growth.svg.

    python -m benchmarks.speed.growth [--only cells] [--dry]
    python -m benchmarks.speed.growth --draw      # only the plot, from the stored figures

Instructions, counted by valgrind, for fields and cells: other work on the machine does not matter.
Processor seconds of ``edge-malaria batch`` for workers, their start included: what a second worker
saves in time, it must not cost in work.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import EVIDENCE, ROOT, write_evidence
from benchmarks.speed.counting import FIELD, DrawnFields, counted, drawn_jpegs, need_valgrind
from edge_malaria.files import write_bytes

NAME = "growth"
FIELDS = (2, 6, 14)
# Shares of the area that red cells cover.
DENSITIES = (0.15, 0.3, 0.45)
FIELDS_OF_A_DENSITY = 4
WORKERS = (1, 2, 4)
SLIDES = 12
SMALL = "sim:parasitemia=0.05,fields=2,seed={seed},width=480,height=360,cell_diameter_px=40"
BUNDLE = ROOT / "edge_malaria/models/default"


def cost(work: Path, fields: int, density: float = 0.35) -> tuple[int, int]:
    """(instructions of a run over ``fields`` drawn fields, start included; red cells in them)."""
    pictures, red = drawn_jpegs(work, fields, DrawnFields(640, 480, 40.0, density))
    command = ["-c", FIELD, str(BUNDLE), str(fields), *map(str, pictures)]
    return counted(command, ROOT), red


def by_fields(work: Path) -> list[dict[str, float]]:
    """Instructions of a whole run."""
    return [{"fields": count, "instructions": cost(work, count)[0]} for count in FIELDS]


def by_cells(work: Path) -> list[dict[str, float]]:
    """Instructions of a run over as many fields, by the red cells drawn in all of them."""
    found = [cost(work, FIELDS_OF_A_DENSITY, density) for density in DENSITIES]
    return [{"cells": red, "instructions": count} for count, red in found]


def by_workers(work: Path) -> list[dict[str, float]]:
    """Processor seconds of a batch of small slides, of client, scheduler and workers together."""
    rows = ["slide,source", *(f'S{k},"{SMALL.format(seed=k)}"' for k in range(SLIDES))]
    (work / "slides.csv").write_text("\n".join(rows) + "\n")
    found = []
    for workers in WORKERS:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "edge_malaria.cli.app", "batch", str(work / "slides.csv")]
        command += ["-o", str(work / f"out{workers}"), "--workers", str(workers), "--json"]
        ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        done = json.loads(ran.stdout)["slides"]
        found.append({"workers": workers, "slides": done, "processor_s": round(seconds, 2)})
        shutil.rmtree(work / f"out{workers}")
    return found


PARTS = {"workers": by_workers, "fields": by_fields, "cells": by_cells}


def draw(figures: dict[str, Any], path: Path) -> None:
    """Three small plots beside each other, as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots(1, 3)
    _curve(axes[0], figures["fields"], "fields", "instructions", 1e9, "10⁹ instructions of a slide")
    words = f"10⁹ instructions of {FIELDS_OF_A_DENSITY} fields"
    _curve(axes[1], figures["cells"], "cells", "instructions", 1e9, words)
    _curve(axes[2], figures["workers"], "workers", "processor_s", 1.0, "processor seconds")
    axes[2].set_xticks(WORKERS)
    buffer = io.BytesIO()
    # No date and fixed ids: the same figures give the same file.
    with rc_context({"svg.hashsalt": NAME}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_bytes(path, buffer.getvalue())


def _curve(
    axis: Any, rows: Sequence[dict[str, float]], x: str, y: str, unit: float, label: str
) -> None:
    axis.plot([row[x] for row in rows], [row[y] / unit for row in rows], "o-")
    axis.set_xlabel(x)
    axis.set_ylabel(label)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)


def main() -> None:
    """Measures, writes the evidence and draws it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--draw", action="store_true", help="draw the stored figures, no more")
    parser.add_argument("--only", choices=PARTS, help="measure this, keep the rest as stored")
    options = parser.parse_args()
    stored = EVIDENCE / f"{NAME}.json"
    if not options.draw:
        need_valgrind()
        figures: dict[str, Any] = {"processors": os.cpu_count()}
        if options.only:
            kept = json.loads(stored.read_text())
            figures |= {part: kept[part] for part in PARTS if part != options.only}
        with tempfile.TemporaryDirectory() as name:
            for part in [options.only] if options.only else PARTS:
                figures[part] = PARTS[part](Path(name))
                print(part, figures[part], flush=True)
        if options.dry:
            return
        write_evidence(NAME, f"python -m benchmarks.speed.{NAME}", figures, 1)
    draw(json.loads(stored.read_text()), EVIDENCE.parent / f"{NAME}.svg")


if __name__ == "__main__":
    main()
