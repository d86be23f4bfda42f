"""What the counts of instructions share: the workloads, their drawn fields, valgrind's run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_malaria.errors import EdgeMalariaError
from edge_malaria.files import encode_image
from edge_malaria.synthetic import draw_field

JPEG_QUALITY = 90
CELLS_A_BATCH = 64
_VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no")
_COUNT = re.compile(r"I\s+refs:\s+([\d,]+)")

# BUNDLE COUNT JPEG...: the whole path of a field, as `benchmark` times it.
FIELD = """
import sys, cv2
from pathlib import Path
from edge_malaria.benchmark.field_path import measure_fields
from edge_malaria.bundle.format import read_bundle
cv2.setNumThreads(1)
pictures = [Path(name).read_bytes() for name in sys.argv[3:]]
measure_fields(read_bundle(Path(sys.argv[1])), pictures, int(sys.argv[2]))
"""
CLASSIFY = """
import sys, numpy, edge_malaria
bundle = edge_malaria.open_bundle(sys.argv[1])
crops = [numpy.full((80, 80, 3), 120 + i, numpy.uint8) for i in range({cells})]
for _ in range(int(sys.argv[2])):
    bundle.classify(crops)
"""


@dataclass(frozen=True)
class DrawnFields:
    """How fields are drawn; the default is five megapixels with about 300 red cells.

    Attributes:
        width_px, height_px: of a field.
        diameter_px: of a red cell.
        density: share of the area that red cells cover.
    """

    width_px: int = 2592
    height_px: int = 1944
    diameter_px: float = 110.0
    density: float = 0.55


def drawn_jpegs(folder: Path, count: int, how: DrawnFields | None = None) -> tuple[list[Path], int]:
    """Writes drawn fields, each of another seed; (their files, the red cells in all of them).

    Each is another place: one picture again and again would meet itself in the mosaic.
    """
    how = how or DrawnFields()
    paths, red = [], 0
    for seed in range(count):
        size = how.width_px, how.height_px, how.diameter_px
        image, truth = draw_field(seed, *size, density=how.density)
        paths.append(folder / f"field{seed}.jpg")
        paths[-1].write_bytes(encode_image(image, ".jpg", JPEG_QUALITY))
        red += sum(drawn.is_red_cell for drawn in truth.objects)
    return paths, red


def need_valgrind() -> None:
    """Ends the program where valgrind is not installed."""
    if shutil.which("valgrind") is None:
        raise SystemExit("skipped: valgrind is not installed (apt install valgrind)")


def counted(command: Sequence[str], tree: Path) -> int:
    """The instructions that a Python command executes, ``tree`` first on its path.

    Raises:
        EdgeMalariaError: valgrind or the command failed.
    """
    # One thread and fixed hashes: the same work in every run.
    fixed = {
        "PYTHONPATH": str(tree),
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        # Compiling the sources is no part of a start.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    call = [*_VALGRIND, "--cachegrind-out-file=/dev/null", sys.executable, *command]
    ran = subprocess.run(
        call, cwd=tree, env={**os.environ, **fixed}, capture_output=True, text=True, check=False
    )
    found = _COUNT.search(ran.stderr)
    if ran.returncode or found is None:
        raise EdgeMalariaError(f"counting failed: {' '.join(command)}: {ran.stderr[-800:]}")
    return int(found[1].replace(",", ""))


def leave_bytecode(commands: Sequence[Sequence[str]], tree: Path) -> None:
    """Runs commands uncounted: the first counted one would compile the sources, the next not."""
    for command in commands:
        call = [sys.executable, *command]
        env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run(call, cwd=tree, env=env, capture_output=True, check=True)
