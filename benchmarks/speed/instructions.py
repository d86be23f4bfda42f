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
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import EVIDENCE, write_evidence
from benchmarks.speed.counting import (
    CELLS_A_BATCH,
    CLASSIFY,
    FIELD,
    counted,
    drawn_jpegs,
    leave_bytecode,
    need_valgrind,
)

NAME = "instructions"
COMMAND = "python -m benchmarks.speed.instructions --write"
MOST_GROWTH = 0.05
FEW, MANY = 2, 5
_SCREEN = ("-m", "edge_malaria.cli.app", "screen")
_VECTORS = ("sse4_2", "avx", "avx2", "fma")

_DECODE = """
import sys, numpy, cv2
cv2.setNumThreads(1)
for path in sys.argv[1:]:
    cv2.imdecode(numpy.fromfile(path, numpy.uint8), cv2.IMREAD_COLOR)
"""


@dataclass(frozen=True)
class Counts:
    """Instructions on one tree.

    Attributes:
        field: of the whole path of one field, JPEG to journal, per field.
        slide: of what ``screen`` does beside the fields: start, verdict, report, for ``FEW``.
        jpeg: of decoding that JPEG at full size alone.
        cell: of classifying one crop of 80 px in a batch of 64, preparation included.
        start: of ``edge-malaria --version``, interpreter and libraries included.
    """

    field: float
    slide: float
    jpeg: float
    cell: float
    start: float

    def as_json(self) -> dict[str, Any]:
        """Rounded to thousands; ``field_per_jpeg`` is their ratio."""
        counts = {key: round(value, -3) for key, value in vars(self).items()}
        return {**counts, "field_per_jpeg": round(self.field / self.jpeg, 2)}


def measure(tree: Path, work: Path) -> Counts:
    """Counts the workloads on one checkout."""
    jpegs, _ = drawn_jpegs(work, MANY)
    bundle = str(tree / "edge_malaria/models/default")

    def screen() -> int:
        out = work / "slide"
        shutil.rmtree(out, ignore_errors=True)
        return counted([*_SCREEN, *map(str, jpegs[:FEW]), "-o", str(out)], tree)

    def path(count: int) -> int:
        return counted(["-c", FIELD, bundle, str(count), *map(str, jpegs)], tree)

    def decode(count: int) -> int:
        return counted(["-c", _DECODE, *map(str, jpegs[:count])], tree)

    def classify(batches: int) -> int:
        source = CLASSIFY.format(cells=CELLS_A_BATCH)
        return counted(["-c", source, bundle, str(batches)], tree)

    version_of = ["-m", "edge_malaria.cli.app", "--version"]
    leave_bytecode([version_of, ["-c", CLASSIFY.format(cells=1), bundle, "1"]], tree)
    leave_bytecode([[*_SCREEN, str(jpegs[0]), "-o", str(work / "first")]], tree)
    units = MANY - FEW
    # Not from ``screen`` of few and of many: its verdict costs what the counts make it cost.
    field = (path(MANY) - path(FEW)) / units
    return Counts(
        field=field,
        slide=screen() - FEW * field,
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
    for key in ("field", "slide", "cell", "start"):
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
    need_valgrind()
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
