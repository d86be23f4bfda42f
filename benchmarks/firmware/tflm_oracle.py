"""Runs .tflite files in the TensorFlow Lite Micro interpreter (PyPI tflite-micro, x86-64 only).

Stands alone (numpy and tflite-micro), so that it can run in an environment of its own:

    python -m benchmarks.firmware.tflm_oracle DIR

For every DIR/<name>.tflite and DIR/<name>.in.npy (int8 [N, ...], one row a call) writes
DIR/<name>.out.npy. A model that the interpreter refuses gets DIR/<name>.refused with the reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def run(model: bytes, rows: np.ndarray, arena_bytes: int = 4 << 20) -> np.ndarray:
    """The interpreter's int8 outputs, one row a call."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    outputs = []
    for row in rows:
        interpreter.set_input(row[None], 0)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)).reshape(-1))
    return np.stack(outputs)


def main() -> int:
    """Runs every model of the directory."""
    folder = Path(sys.argv[1])
    for model in sorted(folder.glob("*.tflite")):
        rows = np.load(model.with_suffix(".in.npy"))
        try:
            outputs = run(model.read_bytes(), rows)
        except (RuntimeError, ValueError) as error:
            model.with_suffix(".refused").write_text(str(error))
            continue
        np.save(model.with_suffix(".out.npy"), outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
