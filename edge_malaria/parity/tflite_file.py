"""Reads the constants of a .tflite file with numpy alone: no engine, no TensorFlow.

A flatbuffer is read by the offsets of TensorFlow Lite's schema (tensorflow/lite/schema/
schema.fbs, version 3), as far as the suite needs: tensors, their quantization and their buffers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import BundleIntegrityError

# TensorType of the schema -> numpy.
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
}


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of a model file.

    Attributes:
        name: as the converter left it; it usually holds the Keras layer's name.
        dtype: numpy name, or ``type-<n>`` where the suite does not know it.
        shape: as stored.
        values: the constant's values; None for an activation.
        scales, zero_points: of its quantization; empty for none. More than one: per channel.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | None
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]

    @property
    def is_kernel(self) -> bool:
        """Whether this is a weight of a convolution or dense layer (constant, 2-D or 4-D)."""
        if self.values is None or len(self.shape) not in (2, 4):
            return False
        if len(self.shape) == 4 and sum(side > 1 for side in self.shape) <= 1:
            # A batch norm's factor a channel looks like a 1 x 1 kernel; it has one scale for all.
            return len(self.scales) > 1
        return self.dtype in ("float32", "float16", "int8", "uint8")


class Table:
    """One flatbuffer table: fields by their number in the schema."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position
        self.vtable = position - struct.unpack_from("<i", data, position)[0]
        self.fields = (struct.unpack_from("<H", data, self.vtable)[0] - 4) // 2

    def offset(self, field: int) -> int:
        """Position of a field's value, 0 where it is absent."""
        if field >= self.fields:
            return 0
        relative = struct.unpack_from("<H", self.data, self.vtable + 4 + 2 * field)[0]
        return self.position + relative if relative else 0

    def number(self, field: int, code: str, default: int = 0) -> int:
        """A scalar field."""
        place = self.offset(field)
        return int(struct.unpack_from(code, self.data, place)[0]) if place else default

    def _target(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def table(self, field: int) -> Table | None:
        """A table field."""
        place = self.offset(field)
        return Table(self.data, self._target(place)) if place else None

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, count = self.vector(field)
        return [Table(self.data, self._target(start + 4 * i)) for i in range(count)]

    def vector(self, field: int) -> tuple[int, int]:
        """(position of the first element, length) of a vector field; (0, 0) where absent."""
        place = self.offset(field)
        if not place:
            return 0, 0
        start = self._target(place)
        return start + 4, int(struct.unpack_from("<I", self.data, start)[0])

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        """A vector of scalars."""
        start, count = self.vector(field)
        return np.frombuffer(self.data, dtype, count, start) if count else np.empty(0, dtype)

    def text(self, field: int) -> str:
        """A string field."""
        start, count = self.vector(field)
        return self.data[start : start + count].decode("utf-8", "replace")


def read_tensors(data: bytes, name: str = "model.tflite") -> tuple[StoredTensor, ...]:
    """All tensors of the main subgraph.

    Raises:
        BundleIntegrityError: not a TFLite flatbuffer, or cut off.
    """
    if data[4:8] != b"TFL3":
        raise BundleIntegrityError(f"{name}: expected a TFLite file (TFL3), got {data[4:8]!r}.")
    try:
        model = Table(data, int(struct.unpack_from("<I", data, 0)[0]))
        graph = model.tables(2)[0]
        buffers = model.tables(4)
        return tuple(_tensor(table, buffers) for table in graph.tables(0))
    except (struct.error, IndexError, ValueError) as error:
        raise BundleIntegrityError(f"{name}: damaged TFLite file ({error}).") from error


def _tensor(table: Table, buffers: list[Table]) -> StoredTensor:
    code = table.number(1, "<b")
    dtype = DTYPES.get(code, f"type-{code}")
    shape = tuple(int(side) for side in table.array(0, "<i4"))
    scales, zero_points = np.empty(0, np.float32), np.empty(0, np.int64)
    quantization = table.table(4)
    if quantization is not None:
        scales = quantization.array(2, "<f4")
        zero_points = quantization.array(3, "<i8")
    values = None
    index = table.number(2, "<I")
    if 0 < index < len(buffers) and not dtype.startswith("type-"):
        stored = buffers[index].array(0, "u1")
        size = np.dtype(dtype).itemsize
        # A zero-dimensional constant has shape (); an activation has no bytes at all.
        if stored.size and stored.size == size * int(np.prod(shape)):
            values = stored.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return StoredTensor(table.text(3), dtype, shape, values, scales, zero_points)


def produced_dtypes(data: bytes) -> set[str]:
    """The element types of what the operators produce: int8 alone in a fully integer file.

    Raises:
        BundleIntegrityError: damaged.
    """
    try:
        return _produced(data)
    except (struct.error, IndexError, ValueError) as error:
        raise BundleIntegrityError(f"damaged TFLite file ({error}).") from error


def _produced(data: bytes) -> set[str]:
    model = Table(data, int(struct.unpack_from("<I", data, 0)[0]))
    graph = model.tables(2)[0]
    tensors = graph.tables(0)
    found = set()
    for operator in graph.tables(3):
        for index in operator.array(2, "<i4"):
            code = tensors[int(index)].number(1, "<b")
            found.add(DTYPES.get(code, f"type-{code}"))
    return found
