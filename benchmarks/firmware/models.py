"""Builds small int8 .tflite files straight from the schema: one operator, any shape and scale.

The TensorFlow converter would fold, fuse and choose scales; a sweep over operators needs to say
each of them itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


@dataclass
class TensorSketch:
    """A tensor to be written: shape, dtype, quantization and, for constants, its values."""

    shape: tuple[int, ...]
    scales: tuple[float, ...] = (1.0,)
    zero_point: int = 0
    dtype: str = "int8"
    values: NDArray[Any] | None = None
    channel_axis: int = 0


@dataclass
class OperatorSketch:
    """An operator to be written: schema name, tensor indices, options."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


_OPTION_CLASSES = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
}
# The first version of each operator that takes int8.
_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "RESHAPE": 1}
_DTYPES = {"int8": "INT8", "int32": "INT32", "float32": "FLOAT32", "uint8": "UINT8"}


def _tensor(sketch: TensorSketch, index: int, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.shape = list(sketch.shape)
    tensor.type = getattr(schema.TensorType, _DTYPES[sketch.dtype])
    tensor.buffer = buffer
    tensor.name = f"t{index}"
    if sketch.dtype != "float32":
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.asarray(sketch.scales, np.float32)
        quantization.zeroPoint = np.full(len(sketch.scales), sketch.zero_point, np.int64)
        quantization.quantizedDimension = sketch.channel_axis
        tensor.quantization = quantization
    return tensor


def _operator(sketch: OperatorSketch, codes: dict[str, int]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = codes.setdefault(sketch.name, len(codes))
    operator.inputs = list(sketch.inputs)
    operator.outputs = list(sketch.outputs)
    name = _OPTION_CLASSES.get(sketch.name)
    if name is not None:
        options = getattr(schema, name + "T")()
        for key, value in sketch.options.items():
            if not hasattr(options, key):
                raise AttributeError(f"{name} has no {key}")
            setattr(options, key, value)
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    return operator


def build_tflite(
    tensors: list[TensorSketch],
    operators: list[OperatorSketch],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> bytes:
    """The bytes of a .tflite file with one subgraph."""
    model = schema.ModelT()
    model.version = 3
    model.description = "sweep"
    buffers, graph = [schema.BufferT()], schema.SubGraphT()
    codes: dict[str, int] = {}
    graph.tensors = []
    for index, sketch in enumerate(tensors):
        buffer = schema.BufferT()
        if sketch.values is not None:
            raw = np.ascontiguousarray(sketch.values).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
        buffers.append(buffer)
        graph.tensors.append(_tensor(sketch, index, len(buffers) - 1))
    graph.operators = [_operator(sketch, codes) for sketch in operators]
    graph.inputs, graph.outputs, graph.name = list(inputs), list(outputs), "main"
    model.operatorCodes = []
    for name in codes:
        code = schema.OperatorCodeT()
        value = getattr(schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode = value, min(value, 127)
        code.version = _VERSIONS.get(name, 2)
        model.operatorCodes.append(code)
    model.buffers, model.subgraphs = buffers, [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
