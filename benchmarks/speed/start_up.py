"""What importing costs before ``screen`` looks at its first field -> docs/evidence/start_up.json.

    python -m benchmarks.speed.start_up             # measure and show, compare with the limit
    python -m benchmarks.speed.start_up --write     # keep the figures as evidence

Each run is a process of its own that screens one small drawn field. Every module's own processor
time is counted while it loads, without what it imports in turn, so other work on the machine
hardly matters; the least of the runs counts. numpy, OpenCV and the engine are told apart: nothing
here can make them shorter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import write_evidence
from edge_malaria.files import encode_image
from edge_malaria.synthetic import draw_field

NAME = "start_up"
COMMAND = "python -m benchmarks.speed.start_up --write"
# Seconds of everything but numpy, OpenCV and the engine.
LIMIT_S = 0.25
OTHERS = ("numpy", "cv2", "ai_edge_litert")
# Modules that are shown by name.
_SHOWN = 12

# Runs in the measured process: times each module's execution by processor time.
_HOOK = """
import sys, time, json
from importlib import _bootstrap_external as loaders
own, stack = {}, []
def timed(kind, name):
    plain = getattr(kind, name)
    def call(self, given):
        stack.append(0.0)
        start = time.process_time()
        try:
            return plain(self, given)
        finally:
            took = time.process_time() - start
            inner = stack.pop()
            if stack:
                stack[-1] += took
            module = getattr(given, "name", None) or given.__name__
            own[module] = own.get(module, 0.0) + took - inner
    setattr(kind, name, call)
timed(loaders.SourceFileLoader, "exec_module")
timed(loaders.ExtensionFileLoader, "create_module")
timed(loaders.ExtensionFileLoader, "exec_module")
from edge_malaria.cli.app import main
try:
    main()
finally:
    sys.stderr.write("\\n" + json.dumps(own) + "\\n")
"""


def modules_of(arguments: list[str]) -> dict[str, float]:
    """Seconds of processor time that each module's own code took while the command loaded it."""
    call = [sys.executable, "-c", _HOOK, *arguments]
    ran = subprocess.run(call, capture_output=True, text=True, check=True)
    return {str(name): float(s) for name, s in json.loads(ran.stderr.splitlines()[-1]).items()}


def measure(runs: int) -> dict[str, Any]:
    """The least of several runs of ``screen`` on one drawn field."""
    least: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "field.jpg"
        picture.write_bytes(encode_image(draw_field(3, 640, 480)[0], ".jpg", 90))
        for run in range(runs):
            out = Path(folder) / f"slide{run}"
            seconds = modules_of(["screen", str(picture), "-o", str(out), "--json"])
            least = {name: min(s, least.get(name, s)) for name, s in seconds.items()}
    packages = Counter[str]()
    for name, s in least.items():
        packages[name.split(".")[0]] += s  # type: ignore[assignment]
    rest = {name: s for name, s in least.items() if name.split(".")[0] not in OTHERS}
    slowest = sorted(rest, key=lambda name: -rest[name])[:_SHOWN]
    total = sum(rest.values())
    return {
        "runs": runs,
        "modules": len(least),
        "seconds": round(total, 4),
        "limit_s": LIMIT_S,
        "passed": total <= LIMIT_S,
        "others_s": {name: round(packages[name], 4) for name in OTHERS},
        "by_package_s": {
            name: round(s, 4) for name, s in packages.most_common(_SHOWN) if name not in OTHERS
        },
        "slowest_modules_s": {name: round(rest[name], 4) for name in slowest},
    }


def main() -> None:
    """Measures and shows, or writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="keep the figures as evidence")
    options = parser.parse_args()
    figures = measure(options.runs)
    print(json.dumps(figures, indent=2))
    if options.write:
        write_evidence(NAME, COMMAND, figures)
    if not figures["passed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
