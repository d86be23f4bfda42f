"""Instructions per field and cell on the Raspberry Pi's processors -> docs/evidence.

    python -m benchmarks.speed.arm_instructions [--qemu qemu-aarch64] [--dry]

QEMU plays each processor and runs the device's own aarch64 wheels; a plugin counts what the program
executes (count_instructions.c, compiled here). Each workload runs twice, with few and with many
units; the difference divided by the units between them is free of start-up. Needs root on Linux,
gcc, and a QEMU that takes plugins (Debian's qemu-user; qemu-user-static takes none).
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evidence_file import ROOT, shipped_sha256, write_evidence
from benchmarks.speed.counting import CELLS_A_BATCH, CLASSIFY, FIELD, drawn_jpegs
from edge_malaria.errors import EdgeMalariaError
from tests.device import arm_root, processors

NAME = "arm_instructions"
PROCESSORS = (processors.CORTEX_A53, processors.CORTEX_A72, processors.CORTEX_A76)
FEW, MANY = 2, 4
PLUGIN = Path(__file__).with_name("count_instructions.c")
_COUNT = re.compile(r"^instructions: (\d+)$", re.MULTILINE)


def built_plugin(folder: Path) -> Path:
    """The plugin, compiled.

    Raises:
        EdgeMalariaError: there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise EdgeMalariaError("no C compiler for the counting plugin: apt install gcc")
    built = folder / "count.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(built), str(PLUGIN)]
    subprocess.run(command, check=True)
    return built


def counted(
    qemu: str, plugin: Path, processor: processors.Processor, command: Sequence[str]
) -> int:
    """The instructions that a Python command executes on ``processor``.

    Raises:
        EdgeMalariaError: it failed, or this QEMU takes no plugin.
    """
    root = arm_root.build(arm_root.AARCH64)
    # LiteRT reads the processor's features there and takes its fastest kernels.
    described = arm_root.roots_folder() / f"cpuinfo.{processor.qemu}"
    described.write_text(processor.cpuinfo)
    words = [qemu, "-plugin", f"file={plugin}", "-L", str(root), str(root / "usr/bin/python3.11")]
    lines = ["set -e", shlex.join(["mount", "--bind", str(described), "/proc/cpuinfo"])]
    lines.append("exec " + shlex.join([*words, *command]))
    fixed = {
        "QEMU_CPU": processor.qemu,
        "PYTHONPATH": f"{root / 'opt/site'}:{ROOT}",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    apart = ["unshare", "-m", "--propagation", "private", "bash", "-c", "\n".join(lines)]
    ran = subprocess.run(
        apart, env={**os.environ, **fixed}, capture_output=True, text=True, check=False
    )
    found = _COUNT.search(ran.stderr)
    if ran.returncode or found is None:
        raise EdgeMalariaError(f"counting on {processor.qemu} failed: {ran.stderr[-800:]}")
    return int(found[1])


def measure(qemu: str, processor: processors.Processor, work: Path) -> dict[str, float]:
    """Instructions per field and per cell, rounded to thousands."""
    plugin, jpegs = built_plugin(work), [str(path) for path in drawn_jpegs(work, MANY)[0]]
    bundle = str(ROOT / "edge_malaria/models/default")

    def fields(count: int) -> int:
        return counted(qemu, plugin, processor, ["-c", FIELD, bundle, str(count), *jpegs])

    def batches(count: int) -> int:
        source = CLASSIFY.format(cells=CELLS_A_BATCH)
        return counted(qemu, plugin, processor, ["-c", source, bundle, str(count)])

    field = (fields(MANY) - fields(FEW)) / (MANY - FEW)
    cell = (batches(MANY) - batches(FEW)) / (MANY - FEW) / CELLS_A_BATCH
    return {"field": round(field, -3), "cell": round(cell, -3)}


def main() -> None:
    """Counts on every processor and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--qemu", default="qemu-aarch64", help="of a build that takes plugins")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    if shutil.which(options.qemu) is None:
        raise SystemExit("skipped: qemu-aarch64 is not installed (apt install qemu-user)")
    if reason := arm_root.why_not(arm_root.AARCH64):
        raise SystemExit(f"skipped: {reason}")
    counts = {}
    with tempfile.TemporaryDirectory() as work:
        for processor in PROCESSORS:
            counts[processor.qemu] = measure(options.qemu, processor, Path(work))
            print(processor.qemu, counts[processor.qemu], flush=True)
    if not options.dry:
        figures = {"classifier_sha256": shipped_sha256(), "counts": counts}
        write_evidence(NAME, f"python -m benchmarks.speed.{NAME}", figures)


if __name__ == "__main__":
    main()
