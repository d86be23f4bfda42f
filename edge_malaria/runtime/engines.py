"""The device engines behind one small seam. No other module touches LiteRT or ONNX Runtime.

LiteRT runs through its classic ``Interpreter`` only: ``CompiledModel`` of 2.3.0 aborts on
Cortex-A72 and A53 with an illegal instruction. An engine is never switched silently.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle import TensorSpec
from edge_malaria.errors import BundleIntegrityError, MissingExtra, UsageError
from edge_malaria.records import Image, expect

ENGINES = ("litert", "onnx")
# One LiteRT tensor arena and one ONNX batch stay a few MB at this size.
BATCH = 64
_LITERT_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
_EXTRAS = {"litert": "litert", "onnx": "onnx"}


class Engine(Protocol):
    """Runs one model file.

    Attributes:
        name: ``litert``, ``onnx`` or another engine's name.
        input, output: the file's own tensors, without the batch axis.
    """

    name: str
    input: TensorSpec
    output: TensorSpec

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """uint8 [N, H, W, 3] RGB -> the output as the file gives it, [N, ...] in its own dtype."""

    def run(self, batch: Image) -> NDArray[np.float32]:
        """uint8 [N, H, W, 3] RGB -> the output dequantized, float32 [N, ...]."""


def installed_engines() -> tuple[str, ...]:
    """The engines whose package is installed, the device default first. Imports none of them."""
    found = []
    if any(_has_module(name.split(".")[0]) for name in _LITERT_MODULES):
        found.append("litert")
    if _has_module("onnxruntime"):
        found.append("onnx")
    return tuple(found)


def default_engine() -> str:
    """litert if installed, else onnx.

    Raises:
        MissingExtra: neither is installed.
    """
    found = installed_engines()
    if not found:
        raise MissingExtra("No engine (LiteRT or ONNX Runtime)", "litert")
    return found[0]


def open_engine(model: Path | bytes, engine: str = "litert", threads: int = 1) -> Engine:
    """Opens a .tflite or .onnx file (or its bytes) on the named engine.

    Raises:
        UsageError: unknown engine.
        MissingExtra: the engine is not installed.
        BundleIntegrityError: the engine cannot load the file.
    """
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    expect(threads >= 1, "threads >= 1", threads)
    if engine == "litert":
        return LiteRTEngine(data, threads)
    if engine == "onnx":
        return OnnxEngine(data, threads)
    raise UsageError(f"unknown engine {engine!r}: expected one of {', '.join(ENGINES)}.")


def quantize_pixels(batch: Image, spec: TensorSpec) -> NDArray[Any]:
    """Pixels 0-255 as the input's dtype: pixel - 128 for int8 (scale 1, zero point -128)."""
    if spec.dtype == "float32":
        return batch.astype(np.float32)
    if spec.dtype == "uint8":
        return batch
    if spec.dtype == "int8" and spec.zero_point == -128 and abs(spec.scale - 1.0) < 1e-6:
        # Flipping the top bit is pixel - 128, without a wider type in between.
        return (batch ^ np.uint8(128)).view(np.int8)
    raise BundleIntegrityError(
        "int8 input: expected scale 1.0 and zero point -128 (pixel - 128), got "
        f"scale {spec.scale:g} and zero point {spec.zero_point}."
    )


def dequantize(raw: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """scale * (q - zero_point) as float32; float outputs as they are."""
    if spec.dtype == "float32":
        return raw.astype(np.float32, copy=False)
    shifted = raw.astype(np.int32) - np.int32(spec.zero_point)
    return (shifted * np.float32(spec.scale)).astype(np.float32)


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _in_batches(
    batch: Image, spec: TensorSpec, invoke: Callable[[NDArray[Any]], NDArray[Any]], size: int
) -> NDArray[Any]:
    expect(
        batch.ndim == 4 and batch.shape[3] == 3 and batch.dtype == np.uint8,
        "uint8 [N, H, W, 3]",
        (batch.shape, str(batch.dtype)),
    )
    if not len(batch):
        return invoke(quantize_pixels(np.zeros((1, *batch.shape[1:]), np.uint8), spec))[:0]
    parts = [
        invoke(quantize_pixels(batch[start : start + size], spec))
        for start in range(0, len(batch), size)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


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
    for name in _LITERT_MODULES:
        if _has_module(name.split(".")[0]):
            return importlib.import_module(name)
    raise MissingExtra("LiteRT", "litert")


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drops what LiteRT's C++ writes to stderr while it starts: a line about its own delegate."""
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


class LiteRTEngine:
    """LiteRT's classic interpreter with XNNPACK.

    A model whose graph cannot take another batch size than its own runs cell by cell.
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

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        return _in_batches(batch, self.input, self._invoke, BATCH)

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


def _precise_session(runtime: Any, data: bytes, threads: int) -> Any:
    """A session whose int8 sums do not overflow on x86-64 without VNNI.

    Files of earlier versions share constants between nodes, which the precise kernels refuse: they
    run as they did.
    """
    try:
        return _session(runtime, data, threads, precise=True)
    except Exception as error:
        if "replace the existing tensor" not in str(error):
            raise
    return _session(runtime, data, threads, precise=False)


def _session(runtime: Any, data: bytes, threads: int, precise: bool) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # What goes wrong is said by the exception.
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1" if precise else "0")
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class OnnxEngine:
    """ONNX Runtime on the CPU provider.

    Quantization of input and output stands in the file's metadata (``edge_malaria.input`` and
    ``.output``), because ONNX types carry no scale.
    """

    name = "onnx"

    def __init__(self, data: bytes, threads: int = 1) -> None:
        if not _has_module("onnxruntime"):
            raise MissingExtra("ONNX Runtime", "onnx")
        runtime = importlib.import_module("onnxruntime")
        try:
            self._session = _precise_session(runtime, data, threads)
        except Exception as error:  # its exception classes share no public base
            raise BundleIntegrityError(f"ONNX Runtime cannot load the model: {error}") from error
        metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.input = _onnx_spec(self._session.get_inputs()[0], metadata, "input")
        self.output = _onnx_spec(self._session.get_outputs()[0], metadata, "output")

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        return _in_batches(batch, self.input, self._invoke, BATCH)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return dequantize(self.run_raw(batch), self.output)

    def _invoke(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._session.run([self.output.name], {self.input.name: values})[0])


_ONNX_TYPES = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}


def _onnx_spec(value: Any, metadata: dict[str, str], which: str) -> TensorSpec:
    dtype = _ONNX_TYPES.get(value.type)
    if dtype is None:
        raise BundleIntegrityError(f"ONNX {which}: expected float or int8, got {value.type}.")
    shape = tuple(side if isinstance(side, int) else 0 for side in value.shape[1:])
    scale, zero_point = 0.0, 0
    if dtype != "float32":
        try:
            words = metadata[f"edge_malaria.{which}"].split()
            scale, zero_point = float(words[0]), int(words[1])
        except (KeyError, ValueError, IndexError) as error:
            raise BundleIntegrityError(
                f"ONNX {which} is {dtype}, but its metadata holds no scale and zero point."
            ) from error
    return TensorSpec(value.name, shape, dtype, scale, zero_point)


class FakeEngine:
    """An engine for tests and dry runs: computes the logits with a Python function.

    Args:
        logits: uint8 [N, S, S, 3] -> float32 [N].
        size_px: S.
    """

    name = "fake"

    def __init__(self, logits: Callable[[Image], NDArray[np.float32]], size_px: int = 48) -> None:
        self._logits = logits
        self.input = TensorSpec("pixels", (size_px, size_px, 3), "float32")
        self.output = TensorSpec("logit", (1,), "float32")

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        return np.asarray(self._logits(batch), np.float32).reshape(len(batch), 1)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return dequantize(self.run_raw(batch), self.output)
