"""Reads an int8 .tflite file into plain records: tensors, operators, constants.

Only what the C generator needs; an unknown operator is kept by name, to be refused by name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import MissingExtra, ModelFileError

_DTYPES = {
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        index: its number in the file.
        name: its name in the file.
        shape: dimensions, batch 1 where the file leaves it open.
        dtype: numpy name; ``other`` for what numpy has not.
        scales: float32 [1] or [channels]; empty where not quantized.
        zero_point: of the first channel; int8 weights have 0 throughout.
        values: a constant's values, None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float32]
    zero_point: int
    values: NDArray[Any] | None

    @property
    def scale(self) -> float:
        """The per-tensor scale, as the float32 in the file."""
        return float(self.scales[0])

    @property
    def elements(self) -> int:
        """How many values it has."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Operator:
    """An operator: schema name, tensor numbers (-1: left out), the schema's options."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingExtra("ai-edge-litert", "export") from error
    return schema_py_generated


@cache
def _names(enumeration: str) -> dict[int, str]:
    members = vars(getattr(_schema(), enumeration))
    return {value: name for name, value in members.items() if isinstance(value, int)}


def _shape(raw: Any) -> tuple[int, ...]:
    shape = [] if raw.shape is None else [int(size) for size in raw.shape]
    signature = raw.shapeSignature
    if signature is not None and len(signature) == len(shape) and shape and signature[0] == -1:
        shape[0] = 1
    return tuple(shape)


def _tensor(index: int, raw: Any, buffers: list[Any]) -> Tensor:
    dtype = _DTYPES.get(_names("TensorType").get(raw.type, "?"))
    quantization = raw.quantization
    empty = quantization is None or quantization.scale is None
    shape = _shape(raw)
    data = buffers[raw.buffer].data
    values: NDArray[Any] | None = None
    if data is not None and len(data) and dtype is not None:
        values = np.frombuffer(bytes(bytearray(data)), dtype).reshape(shape)
    points = None if empty else quantization.zeroPoint
    return Tensor(
        index=index,
        name=(raw.name or b"").decode("utf-8", "replace"),
        shape=shape,
        dtype="other" if dtype is None else np.dtype(dtype).name,
        scales=np.empty(0, np.float32) if empty else np.asarray(quantization.scale, np.float32),
        zero_point=0 if points is None or not len(points) else int(points[0]),
        values=values,
    )


def _operator(index: int, raw: Any, codes: list[Any]) -> Operator:
    code = codes[raw.opcodeIndex]
    # Files from before the schema grew hold the number in the old, 8-bit field only.
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    name = _names("BuiltinOperator").get(number, f"operator {number}")
    if name == "CUSTOM":
        name = f"custom operator {(code.customCode or b'?').decode('utf-8', 'replace')}"
    inputs = () if raw.inputs is None else tuple(int(tensor) for tensor in raw.inputs)
    return Operator(index, name, inputs, tuple(int(t) for t in raw.outputs), raw.builtinOptions)


def parse_graph(data: bytes, name: str = "model") -> Graph:
    """Reads the bytes of a .tflite file.

    Raises:
        ModelFileError: not a .tflite file, or damaged.
        MissingExtra: ai-edge-litert, whose schema reads the file, is not installed.
    """
    schema = _schema()
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise ModelFileError(f"{name} is not a .tflite file (no TFL3 mark at byte 4).")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        if len(model.subgraphs) != 1:
            raise ModelFileError(f"{name} has {len(model.subgraphs)} subgraphs, expected 1.")
        raw = model.subgraphs[0]
        tensors = tuple(_tensor(i, t, model.buffers) for i, t in enumerate(raw.tensors))
        operators = tuple(
            _operator(i, o, model.operatorCodes) for i, o in enumerate(raw.operators or [])
        )
        graph = Graph(tensors, operators, tuple(map(int, raw.inputs)), tuple(map(int, raw.outputs)))
        _check_references(graph)
    except (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{name} is damaged: {error}. Export it again.") from error
    return graph


def _check_references(graph: Graph) -> None:
    count = len(graph.tensors)
    for operator in graph.operators:
        for tensor in (*operator.inputs, *operator.outputs):
            if not -1 <= tensor < count:
                raise ValueError(f"operator {operator.index} names tensor {tensor} of {count}")
    for tensor in (*graph.inputs, *graph.outputs):
        if not 0 <= tensor < count:
            raise ValueError(f"the graph names tensor {tensor} of {count}")


def read_graph(path: Path) -> Graph:
    """Reads a .tflite file; see ``parse_graph``."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}.") from error
    return parse_graph(data, str(path))
