"""A smaller .tflite file with the same operators, weights and bits.

In a small per-channel int8 network most of the file is no weight at all: every channel's zero
point is stored as an int64 (always 0), once for the kernel and once for the bias, and every tensor
carries a long name made of TensorFlow's scopes. Equal vectors are stored once (FlatBuffers allows
several tables to point at one vector) and names are cut to the layer's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.quiet import quiet


def slim(data: bytes) -> bytes:
    """Rewrites a .tflite file without what no interpreter reads; outputs stay bit for bit.

    Args:
        data: a bare flatbuffer (nothing zip-appended yet).
    """
    with quiet():
        import flatbuffers
        from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    _shorten_names(model)
    cache: dict[bytes, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization = _shared(schema, tensor.quantization, cache)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _shorten_names(model: Any) -> None:
    """``net/block1_conv/convolution;…`` -> ``block1_conv/convolution``, numbered if it recurs."""
    for graph in model.subgraphs:
        seen: dict[str, int] = {}
        for tensor in graph.tensors:
            first = (tensor.name or b"").decode().split(";")[0]
            short = "/".join(first.split("/")[-2:]) or "tensor"
            count = seen[short] = seen.get(short, -1) + 1
            # A dot, because TensorFlow's own names end in _1 and the like.
            tensor.name = (f"{short}.{count}" if count else short).encode()
    model.description = b"edge-malaria"


def _shared(schema: Any, original: Any, cache: dict[bytes, int]) -> Any:
    """Quantization parameters whose vectors are written once each; see the module's docstring."""

    class Shared(schema.QuantizationParametersT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802 - the schema's name
            scale = _vector(builder, np.asarray(self.scale, np.float32), cache)
            zero_point = _vector(builder, np.asarray(self.zeroPoint, np.int64), cache)
            schema.QuantizationParametersStart(builder)
            schema.QuantizationParametersAddScale(builder, scale)
            schema.QuantizationParametersAddZeroPoint(builder, zero_point)
            schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
            return schema.QuantizationParametersEnd(builder)

    if original.scale is None or original.zeroPoint is None or original.details is not None:
        return original
    shared = Shared()
    shared.scale, shared.zeroPoint = original.scale, original.zeroPoint
    shared.quantizedDimension = original.quantizedDimension
    return shared


def _vector(builder: Any, values: Any, cache: dict[bytes, int]) -> int:
    key = values.dtype.str.encode() + values.tobytes()
    if key not in cache:
        cache[key] = builder.CreateNumpyVector(values)
    return cache[key]
