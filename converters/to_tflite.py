"""Keras -> TFLite in float32, float16, dynamic and int8.

Keras 3 models go through ``TFLiteConverter.from_keras_model``; ``from_concrete_functions`` drops
their weights silently. What comes out is looked at before it is handed on: an int8 file must be
int8 at both ends and hold int8 weights, or it is not called int8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from converters.freed_memory import give_back
from converters.quiet import quiet, require
from converters.slim import slim
from edge_malaria.errors import GateFailed, UsageError
from edge_malaria.records import Image

VARIANTS = ("float32", "float16", "dynamic", "int8")


def convert(
    model: Any,
    variant: str,
    calibration: Image | None = None,
    keep_float: Sequence[str] = (),
) -> bytes:
    """Converts a Keras model to the bytes of a .tflite file.

    Args:
        model: input float32 [N, S, S, 3] of pixel values 0-255, 1/255 inside, one logit. For
            float32, float16 and dynamic without ``FakeQuant`` layers.
        variant: one of ``VARIANTS``.
        calibration: uint8 [N, S, S, 3], for int8 of a model that carries no ranges.
        keep_float: names of tensors' operators kept in float (the caller then calls the result
            ``int8-mixed``).

    Raises:
        UsageError: unknown variant.
        GateFailed: the converter gave something other than what was asked for.
        MissingExtra: TensorFlow is not installed.
    """
    require("tensorflow")
    if variant not in VARIANTS:
        raise UsageError(f"unknown variant {variant!r}: expected one of {VARIANTS}.")
    if keep_float:
        return partly_float(with_ranges(model, calibration), model, keep_float)
    with quiet(), _weights_once():
        data = bytes(_converter(model, variant, calibration).convert())
        if variant == "int8":
            data = slim(data)
    _check(data, model, variant)
    return data


def _converter(model: Any, variant: str, calibration: Image | None) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
        if calibration is not None:
            converter.representative_dataset = lambda: _representative(calibration)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter


@contextmanager
def _weights_once() -> Iterator[None]:
    """While this is open, the converter does not load a Keras model a second time.

    It writes the model as a SavedModel, loads that, keeps what it loaded, and then converts what
    lies on the disk.
    """
    from tensorflow.core.framework.graph_debug_info_pb2 import GraphDebugInfo
    from tensorflow.lite.python import lite

    def nothing(*_: Any) -> Any:
        give_back()
        return SimpleNamespace(graph_debug_info=GraphDebugInfo())

    load, lite._load = lite._load, nothing
    try:
        yield
    finally:
        lite._load = load


def with_ranges(model: Any, calibration: Image | None) -> bytes:
    """A float network with the ranges of its activations on calibration cells, as TFLite bytes.

    ``partly_float`` makes several files of it: calibration is what takes the time.

    Args:
        model: as for ``convert``.
        calibration: uint8 [N, S, S, 3], N >= 1.

    Raises:
        UsageError: no calibration cells.
    """
    cells = _non_empty(calibration)
    with quiet(), _weights_once():
        import tensorflow as tf

        converter = _converter(model, "int8", cells)
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: _representative(cells[:1])
        )
    return bytes(debugger.calibrated_model)


def partly_float(ranged: bytes, model: Any, keep_float: Sequence[str]) -> bytes:
    """An int8 file of which some operators stay float.

    Args:
        ranged: from ``with_ranges``.
        model: that it was made from.
        keep_float: as for ``convert``.

    Raises:
        GateFailed: the file lost its weights.
    """
    with quiet():
        from tensorflow.lite.python.convert import mlir_quantize

        # As tf.lite.experimental.QuantizationDebugger does, without its second, slower network.
        data = slim(bytes(mlir_quantize(ranged, denylisted_nodes=list(keep_float))))
    _check(data, model, "int8")
    return data


def _non_empty(calibration: Image | None) -> Image:
    if calibration is None or not len(calibration):
        raise UsageError("keeping layers in float needs calibration cells (--data).")
    return calibration


def _representative(calibration: Image) -> Any:
    # One picture with both 0 and 255 fixes the input range, so int8 input is pixel - 128.
    anchor = calibration[:1].astype(np.float32)
    anchor[0, 0, 0, :], anchor[0, -1, -1, :] = 0.0, 255.0
    yield [anchor]
    for cell in calibration:
        yield [cell[None].astype(np.float32)]


def _check(data: bytes, model: Any, variant: str) -> None:
    """Refuses a file that lost its weights or is not what its name says."""
    weights = sum(int(np.prod(w.shape)) for w in model.weights)
    least = weights * {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}[variant] // 2
    if not (len(data) >= least):
        raise GateFailed(
            f"conversion to {variant} lost weights: expected at least {least} bytes for "
            f"{weights} weights, got {len(data)}."
        )


def quantization_of(data: bytes) -> str:
    """The honest name of a TFLite file's quantization, read from its tensors.

    Returns:
        ``float32``, ``float16``, ``dynamic`` (int8 weights, float activations), ``int8`` (every
        operator integer) or ``int8-mixed`` (some activations float).
    """
    with quiet():
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        interpreter = Interpreter(
            model_content=data,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        tensors = [t for t in interpreter.get_tensor_details() if t["name"]]
        ends = interpreter.get_input_details() + interpreter.get_output_details()
        ops = interpreter._get_ops_details()
    types = {int(t["index"]): np.dtype(t["dtype"]).name for t in tensors}
    produced = [types.get(int(i), "") for op in ops for i in op["outputs"] if i >= 0]
    floats = [name for name in produced if name == "float32"]
    if all(np.dtype(end["dtype"]).name == "int8" for end in ends):
        return "int8-mixed" if floats else "int8"
    if "float16" in types.values():
        return "float16"
    if "int8" in produced:
        return "int8-mixed"
    # The smallest weights may stay float; biases of a dynamic file always do.
    constants = set(types) - {int(i) for op in ops for i in op["outputs"]}
    return "dynamic" if any(types[i] == "int8" for i in constants) else "float32"
