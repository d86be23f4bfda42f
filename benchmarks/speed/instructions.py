"""Instructions per field, per JPEG and per cell -> docs/evidence/instructions.json.

    python -m benchmarks.speed.instructions            # count, show, compare with the evidence
    python -m benchmarks.speed.instructions --check    # fail where a count grew by more than 5 %
    python -m benchmarks.speed.instructions --write    # keep the counts as the new evidence
    python -m benchmarks.speed.instructions --tree ../before  # another checkout, too

Valgrind counts what the program itself executes, so other work on the machine does not matter and a
regression of a few per cent shows anywhere. Each workload runs twice, with few and with many units;
the difference divided by the units between them is free of start-up. Counts depend on the vector
instructions that the processor offers and on the versions of numpy, OpenCV and the engine: both are
recorded. Where they differ nothing can be compared, and ``--check`` fails and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import EVIDENCE, write_evidence
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.files import encode_image
from edge_malaria.synthetic import draw_field

NAME = "instructions"
COMMAND = "python -m benchmarks.speed.instructions --write"
MOST_GROWTH = 0.05
# Five megapixels with about 300 red cells, as a microscope camera gives them.
WIDTH_PX, HEIGHT_PX, DIAMETER_PX, DENSITY = 2592, 1944, 110.0, 0.55
JPEG_QUALITY = 90
FEW, MANY = 2, 5
CELLS_A_BATCH = 64
_VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no")
_COUNT = re.compile(r"I\s+refs:\s+([\d,]+)")
_SCREEN = ("-m", "edge_malaria.cli.app", "screen")
_VECTORS = ("sse4_2", "avx", "avx2", "fma")

_DECODE = """
import sys, numpy, cv2
cv2.setNumThreads(1)
for path in sys.argv[1:]:
    cv2.imdecode(numpy.fromfile(path, numpy.uint8), cv2.IMREAD_COLOR)
"""
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
class Counts:
    """Instructions on one tree.

    Attributes:
        field: of the whole path of one field, JPEG to journal, per field.
        jpeg: of decoding that JPEG at full size alone.
        cell: of classifying one crop of 80 px in a batch of 64, preparation included.
        start: of ``edge-malaria --version``, interpreter and libraries included.
    """

    field: float
    jpeg: float
    cell: float
    start: float

    def as_json(self) -> dict[str, Any]:
        """Rounded to thousands; ``field_per_jpeg`` is their ratio."""
        counts = {key: round(value, -3) for key, value in vars(self).items()}
        return {**counts, "field_per_jpeg": round(self.field / self.jpeg, 2)}


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


def drawn_jpegs(folder: Path, count: int) -> list[Path]:
    """Writes drawn fields, each of another seed, into ``folder``."""
    paths = []
    for seed in range(count):
        image, _ = draw_field(seed, WIDTH_PX, HEIGHT_PX, DIAMETER_PX, density=DENSITY)
        paths.append(folder / f"field{seed}.jpg")
        paths[-1].write_bytes(encode_image(image, ".jpg", JPEG_QUALITY))
    return paths


def measure(tree: Path, work: Path) -> Counts:
    """Counts the four workloads on one checkout."""
    jpegs = drawn_jpegs(work, MANY)
    bundle = str(tree / "edge_malaria/models/default")

    def screen(count: int) -> int:
        out = work / f"slide{count}"
        shutil.rmtree(out, ignore_errors=True)
        files = map(str, jpegs[:count])
        return counted([*_SCREEN, *files, "-o", str(out)], tree)

    def decode(count: int) -> int:
        return counted(["-c", _DECODE, *map(str, jpegs[:count])], tree)

    def classify(batches: int) -> int:
        source = CLASSIFY.format(cells=CELLS_A_BATCH)
        return counted(["-c", source, bundle, str(batches)], tree)

    version_of = ["-m", "edge_malaria.cli.app", "--version"]
    leave_bytecode([version_of, ["-c", CLASSIFY.format(cells=1), bundle, "1"]], tree)
    leave_bytecode([[*_SCREEN, str(jpegs[0]), "-o", str(work / "first")]], tree)
    units = MANY - FEW
    return Counts(
        field=(screen(MANY) - screen(FEW)) / units,
        jpeg=(decode(MANY) - decode(FEW)) / units,
        cell=(classify(MANY) - classify(FEW)) / units / CELLS_A_BATCH,
        start=counted(version_of, tree),
    )


def circumstances() -> dict[str, Any]:
    """What the counts depend on beside this project."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    offered = set(flags[1].split()) if flags else set()
    packages = ("numpy", "opencv-python-headless", "ai-edge-litert")
    return {
        "vector_instructions": [name for name in _VECTORS if name in offered],
        "packages": {name: version(name) for name in packages},
        "python": ".".join(map(str, sys.version_info[:2])),
    }


def grown(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """One line for each count that grew by more than the limit."""
    lines = []
    for key in ("field", "cell", "start"):
        ratio = now[key] / before[key]
        if not (ratio <= 1.0 + MOST_GROWTH):
            lines.append(
                f"{key}: {now[key]:,.0f} instructions, {before[key]:,.0f} before: {ratio:.3f}"
            )
    return lines


def main() -> None:
    """Counts, shows, and checks or writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 where a count grew by > 5 %%")
    parser.add_argument("--write", action="store_true", help="keep the counts as evidence")
    parser.add_argument("--tree", type=Path, help="another checkout, counted beside this one")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("skipped: valgrind is not installed (apt install valgrind)")
    here = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as work:
        now = measure(here, Path(work)).as_json()
        other = measure(args.tree.resolve(), Path(work)).as_json() if args.tree else None
    around = circumstances()
    print(json.dumps({"here": now, **({"other": other} if other else {})}, indent=2))
    stored = EVIDENCE / f"{NAME}.json"
    if args.write:
        write_evidence(NAME, COMMAND, {"counts": now, "circumstances": around})
    elif not stored.is_file():
        raise SystemExit(f"nothing to compare with: {stored.name} is not in docs/evidence")
    else:
        before = json.loads(stored.read_text())
        if before["circumstances"] != around:
            told = f"not compared: counted under {before['circumstances']}, here {around}"
            if args.check:
                raise SystemExit(told)
            print(told)
            return
        lines = grown(now, before["counts"])
        print("\n".join(lines) or f"no count grew by more than {MOST_GROWTH:.0%}")
        if lines and args.check:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
