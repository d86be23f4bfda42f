"""One engine alone in a process: how long it takes to start, and how much memory at its highest.

    python -m edge_malaria.benchmark.child ENGINE SIZE_PX BATCH < MODEL

Peak memory is a process's own and never falls, so each file is measured in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

TIMEOUT_S = 300


@dataclass(frozen=True)
class Alone:
    """One model file in a process of its own.

    Attributes:
        start_ms: from opening the file to the first answer, the engine's import included.
        peak_mib: resident memory at its highest; None where the system does not tell.
    """

    start_ms: float
    peak_mib: float | None


def measure_alone(data: bytes, engine: str, size_px: int, batch: int) -> Alone | str:
    """Runs ``data`` once in a child process; a sentence where that fails."""
    command = [sys.executable, "-m", "edge_malaria.benchmark.child", engine]
    try:
        ran = subprocess.run(
            [*command, str(size_px), str(batch)],
            input=data,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    if ran.returncode != 0:
        words = ran.stderr.decode(errors="replace").strip().splitlines()
        return words[-1] if words else f"the process ended with {ran.returncode}"
    values = json.loads(ran.stdout)
    return Alone(float(values["start_ms"]), values["peak_mib"])


def _peak_mib() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def main() -> None:
    """The child's side."""
    import numpy as np

    from edge_malaria.runtime.engines.opening import open_engine

    engine, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    data = sys.stdin.buffer.read()
    start = time.perf_counter()
    open_engine(data, engine).run(np.zeros((batch, size, size, 3), np.uint8))
    taken = 1e3 * (time.perf_counter() - start)
    print(json.dumps({"start_ms": round(taken, 1), "peak_mib": _peak_mib()}))


if __name__ == "__main__":
    main()
