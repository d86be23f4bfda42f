"""ONNX Runtime on the CPU provider."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.errors import BundleIntegrityError, MissingExtra
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import BATCH, dequantize, has_module, in_batches


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
    ``.output``), because ONNX types carry no scale. Threads may share an engine: a session's
    ``run`` keeps nothing between calls.
    """

    name = "onnx"

    def __init__(self, data: bytes, threads: int = 1) -> None:
        if not has_module("onnxruntime"):
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
        return in_batches(batch, self.input, self._invoke, BATCH)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return dequantize(self.run_raw(batch), self.output)

    def _invoke(self, values: NDArray[Any]) -> NDArray[Any]:
        # A copy: what ``run`` gives lies in the session's memory, and would keep all of it alive.
        return np.array(self._session.run([self.output.name], {self.input.name: values})[0])


def float_session(data: bytes) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    """A function that runs a float network of somebody else, one input and one output, as it is.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        BundleIntegrityError: it cannot load the model.
    """
    if not has_module("onnxruntime"):
        raise MissingExtra("ONNX Runtime", "onnx")
    runtime = importlib.import_module("onnxruntime")
    try:
        session = _session(runtime, data, 1, precise=False)
    except Exception as error:  # its exception classes share no public base
        raise BundleIntegrityError(f"ONNX Runtime cannot load the model: {error}") from error
    name = session.get_inputs()[0].name
    return lambda values: np.asarray(session.run(None, {name: values})[0])


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
