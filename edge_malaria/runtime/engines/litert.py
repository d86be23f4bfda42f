"""LiteRT through its classic ``Interpreter``: the device's default engine.

``CompiledModel`` of LiteRT 2.3.0 aborts on Cortex-A72 and A53 with an illegal instruction.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.errors import BundleIntegrityError, MissingExtra
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import BATCH, dequantize, has_module, in_batches

# Standard error belongs to the process: two threads that turn it aside at once would lose it.
_STDERR_LOCK = threading.Lock()

LITERT_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def _tensor_spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(side) for side in detail["shape"][1:])
    return TensorSpec(
        str(detail["name"]), shape, np.dtype(detail["dtype"]).name, float(scale), int(zero_point)
    )


def load_interpreter_module() -> Any:
    """ai_edge_litert's interpreter module, or tflite_runtime's where only that is installed.

    Raises:
        MissingExtra: neither is installed.
    """
    for name in LITERT_MODULES:
        if has_module(name.split(".")[0]):
            return importlib.import_module(name)
    raise MissingExtra("LiteRT", "litert")


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drops what LiteRT's C++ writes to stderr while it starts: a line about its own delegate.

    One thread at a time. Where standard error is closed there is nothing to turn aside.
    """
    with _STDERR_LOCK:
        kept = _copy_of_stderr()
        if kept is None:
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)


def _copy_of_stderr() -> int | None:
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        return os.dup(2)
    except (OSError, ValueError):  # closed, as a descriptor or as a stream
        return None


class LiteRTEngine:
    """LiteRT's classic interpreter with XNNPACK.

    A model whose graph cannot take another batch size than its own runs cell by cell. The
    interpreter holds one set of tensors, so threads that share an engine run one after the other.
    """

    name = "litert"

    def __init__(self, data: bytes, threads: int = 1) -> None:
        module = load_interpreter_module()
        logging.getLogger("ai_edge_litert").setLevel(logging.ERROR)
        try:
            with _silent_stderr():
                self._interpreter = module.Interpreter(model_content=data, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleIntegrityError(f"LiteRT cannot load the model: {error}") from error
        self._in = self._interpreter.get_input_details()[0]
        self._out = self._interpreter.get_output_details()[0]
        self.input = _tensor_spec(self._in)
        self.output = _tensor_spec(self._out)
        self._shape = tuple(int(side) for side in self._in["shape"])
        self._batched = True
        self._one_at_a_time = threading.Lock()

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        with self._one_at_a_time:
            return in_batches(batch, self.input, self._invoke, BATCH)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return dequantize(self.run_raw(batch), self.output)

    def _invoke(self, values: NDArray[Any]) -> NDArray[Any]:
        if len(values) > 1 and not self._batched:
            return np.concatenate([self._invoke_one(v[None]) for v in values])
        try:
            result = self._invoke_one(values)
        except (ValueError, RuntimeError):
            if len(values) == 1:
                raise
            result = None
        if result is None or len(result) != len(values):
            # A graph with a fixed batch (a Flatten, for example): one cell at a time.
            self._batched = False
            return self._invoke(values)
        return result

    def _invoke_one(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.shape != self._shape:
            self._interpreter.resize_tensor_input(self._in["index"], values.shape)
            self._interpreter.allocate_tensors()
            self._shape = values.shape
        self._interpreter.set_tensor(self._in["index"], values)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._out["index"]))
