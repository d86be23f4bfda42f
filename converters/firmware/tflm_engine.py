"""TensorFlow Lite Micro's own interpreter as an engine (PyPI tflite-micro, x86-64 Linux only)."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.errors import BundleIntegrityError, EnvironmentProblem
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import dequantize, quantize_pixels

_ARENA_BYTES = 4 << 20


def has_tflm() -> bool:
    """Whether tflite-micro is installed here. Does not import it."""
    return importlib.util.find_spec("tflite_micro") is not None


class TflmEngine:
    """Runs an int8 .tflite file, cell by cell; threads that share it run one after the other.

    Args:
        model: the file's bytes.
        spec: its record in the bundle: the interpreter does not name its tensors.

    Raises:
        EnvironmentProblem: tflite-micro is not installed.
        BundleIntegrityError: the interpreter refuses the file.
    """

    name = "tflm"

    def __init__(self, model: bytes, spec: FileSpec) -> None:
        if not has_tflm():
            raise EnvironmentProblem(
                "TensorFlow Lite Micro is not installed. Install it with: "
                "pip install --pre tflite-micro (Linux on x86-64)"
            )
        try:
            runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
        except ImportError as error:
            raise EnvironmentProblem(f"tflite-micro cannot be imported: {error}.") from error
        try:
            self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA_BYTES)
        except (RuntimeError, ValueError) as error:
            raise BundleIntegrityError(f"{spec.file}: TFLM refuses it: {error}") from error
        self.input, self.output = spec.input, spec.output
        self._one_at_a_time = threading.Lock()

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """uint8 [N, S, S, 3] RGB -> int8 [N, 1]."""
        found = np.empty((len(batch), 1), np.int8)
        for index, row in enumerate(quantize_pixels(batch, self.input)):
            with self._one_at_a_time:
                self._interpreter.set_input(row[None], 0)
                self._interpreter.invoke()
                found[index] = np.asarray(self._interpreter.get_output(0)).reshape(-1)
        return found

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``run_raw``."""
        return dequantize(self.run_raw(batch), self.output)
