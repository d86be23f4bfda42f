"""Reads the constants of an .onnx file with numpy alone: no engine, no onnx package.

Protocol-buffer fields are read by their numbers in onnx.proto (IR version 8): ModelProto.graph 7,
.metadata_props 14, GraphProto.node 1 and .initializer 5, TensorProto.dims 1, .data_type 2, .name 8,
.raw_data 9.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity.tflite_file import StoredTensor

_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16"}
# Typed fields that hold values where raw_data does not: float_data 4, int32_data 5, int64_data 7.
_TYPED = {1: 4, 2: 5, 3: 5, 6: 5, 7: 7}


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
        if shift > 63:
            raise IndexError("a number of more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of one message; length-delimited values as views."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        value: int | memoryview
        if wire == 0:
            value, place = _varint(data, place)
        elif wire == 2:
            size, place = _varint(data, place)
            if place + size > len(data):
                raise IndexError("cut off")
            value, place = data[place : place + size], place + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, place = data[place : place + size], place + size
        else:
            raise IndexError(f"wire type {wire}")
        yield key >> 3, value


def _messages(data: memoryview, number: int) -> list[memoryview]:
    return [v for n, v in _fields(data) if n == number and isinstance(v, memoryview)]


def _integers(values: list[int | memoryview]) -> list[int]:
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            number, place = _varint(value, place)
            found.append(number)
    return found


def _tensor(data: memoryview) -> StoredTensor:
    fields: dict[int, list[int | memoryview]] = {}
    for number, value in _fields(data):
        fields.setdefault(number, []).append(value)
    code = _integers(fields.get(2, [0]))[0]
    dtype = _DTYPES.get(code, f"type-{code}")
    shape = tuple(_integers(fields.get(1, [])))
    names = [
        bytes(v).decode("utf-8", "replace") for v in fields.get(8, []) if not isinstance(v, int)
    ]
    name = names[0] if names else ""
    values = None
    if dtype in _DTYPES.values():
        if 9 in fields:
            raw = next(v for v in fields[9] if isinstance(v, memoryview))
            values = np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"))
        elif code == 1 and 4 in fields:
            packed = b"".join(bytes(v) for v in fields[4] if isinstance(v, memoryview))
            values = np.frombuffer(packed, "<f4")
        elif _TYPED.get(code) in fields:
            numbers = np.array(_integers(fields[_TYPED[code]]), np.uint64).astype(np.int64)
            values = numbers.astype(dtype)
        values = None if values is None or values.size != np.prod(shape) else values.reshape(shape)
    empty = np.empty(0, np.float32)
    return StoredTensor(name, dtype, shape, values, empty, np.empty(0, np.int64))


def read_tensors(data: bytes, name: str = "model.onnx") -> tuple[StoredTensor, ...]:
    """All initializers; the weights of QDQ nodes carry the scales of their DequantizeLinear.

    Raises:
        BundleIntegrityError: not an ONNX file, or cut off.
    """
    try:
        graph = _messages(memoryview(data), 7)[0]
        stored = {tensor.name: tensor for tensor in map(_tensor, _messages(graph, 5))}
        for node in _messages(graph, 1):
            _add_scales(node, stored)
    except (IndexError, ValueError, OverflowError) as error:
        raise BundleIntegrityError(f"{name}: damaged ONNX file ({error}).") from error
    return tuple(stored.values())


def _add_scales(node: memoryview, stored: dict[str, StoredTensor]) -> None:
    kind = [bytes(v).decode() for v in _messages(node, 4)]
    inputs = [bytes(v).decode("utf-8", "replace") for v in _messages(node, 1)]
    if kind != ["DequantizeLinear"] or inputs[0] not in stored or inputs[1] not in stored:
        return
    weight, scale = stored[inputs[0]], stored[inputs[1]]
    if scale.values is None:
        return
    zero = stored[inputs[2]].values if len(inputs) > 2 and inputs[2] in stored else None
    zeros = np.zeros(1, np.int64) if zero is None else np.asarray(zero, np.int64).reshape(-1)
    scales = np.asarray(scale.values, np.float32).reshape(-1)
    stored[weight.name] = StoredTensor(
        weight.name, weight.dtype, weight.shape, weight.values, scales, zeros
    )


def metadata(data: bytes) -> dict[str, str]:
    """``metadata_props``: key -> value.

    Raises:
        IndexError, ValueError: damaged.
    """
    found = {}
    for entry in _messages(memoryview(data), 14):
        key, value = (b"".join(map(bytes, _messages(entry, n))).decode() for n in (1, 2))
        found[key] = value
    return found


def operator_types(data: bytes) -> set[str]:
    """The names of all operators in the graph.

    Raises:
        BundleIntegrityError: damaged.
    """
    try:
        graph = _messages(memoryview(data), 7)[0]
        return {bytes(kind).decode() for node in _messages(graph, 1) for kind in _messages(node, 4)}
    except (IndexError, ValueError) as error:
        raise BundleIntegrityError(f"damaged ONNX file ({error}).") from error
