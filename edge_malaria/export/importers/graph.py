"""An ONNX graph as plain records: every foreign model is read as one, whatever it came as.

Batch 1 and one input side are fixed here, so that every shape is known while the graph is rebuilt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelFileError, ModelShapeError, UsageError


class Untranslatable(Exception):
    """Something in a graph that this project cannot rebuild; the message says what."""


@dataclass(frozen=True)
class Node:
    """One operation: its ONNX name, its own name, tensors in and out, and attributes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def number(self, key: str, default: float) -> float:
        """A scalar attribute."""
        return float(self.attributes.get(key, default))

    def numbers(self, key: str, default: Sequence[int] = ()) -> list[int]:
        """A list attribute of whole numbers."""
        return [int(value) for value in self.attributes.get(key, default)]

    def text(self, key: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(key, default)
        return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of one picture input and one output.

    Attributes:
        nodes: in an order in which each comes after its inputs.
        constants: name -> values.
        input, output: names of the tensors.
        size_px: side of the square input.
        channels_first: whether the input is [N, 3, S, S].
        proto: the ONNX message, with batch and side as found.
        opset: version of the operations.
        readers: tensor -> how many nodes read it (the output counts as one more).
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    input: str
    output: str
    size_px: int
    channels_first: bool
    proto: Any
    readers: Mapping[str, int] = field(default_factory=dict)
    opset: int = 17

    def maker(self, name: str) -> Node | None:
        """The node that gives a tensor."""
        return next((node for node in self.nodes if name in node.outputs), None)


def read_graph(proto: Any, name: str, input_size: int | None) -> Graph:
    """An ONNX message -> records.

    Args:
        proto: ``onnx.ModelProto``.
        name: of the file, for messages.
        input_size: the side where the file leaves it open.

    Raises:
        ModelShapeError: not one RGB picture in, one tensor out.
        UsageError: the side is open and not given, or given and another.
    """
    import onnx

    graph = proto.graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelShapeError(
            f"{name}: expected one input and one output, got {len(inputs)} and {len(graph.output)}."
        )
    shape = [
        int(d.dim_value) if d.HasField("dim_value") else 0
        for d in inputs[0].type.tensor_type.shape.dim
    ]
    first, size = _layout(shape, name, input_size)
    kind = inputs[0].type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        word = onnx.TensorProto.DataType.Name(kind).lower()
        raise ModelFileError(f"{name}: expected float32 input, got {word}. Write it in float32.")
    if shape[0] > 1:
        raise ModelShapeError(
            f"{name} takes {shape[0]} cells at a time: write it for one cell, or for any number."
        )
    nodes = tuple(_node(node) for node in graph.node)
    turns = next((node for node in nodes if node.op in ("If", "Loop", "Scan")), None)
    if turns is not None:
        raise ModelFileError(
            f"{name} branches or loops ({turns.op} {turns.name}). Recurrent layers cannot be read: "
            "docs/OWN_MODEL.md says what takes their place. A branch for training goes away where "
            "the network is written in inference mode."
        )
    readers = Counter(i for node in nodes for i in node.inputs)
    readers[graph.output[0].name] += 1
    opset = next((int(o.version) for o in proto.opset_import if o.domain in ("", "ai.onnx")), 17)
    ends = (inputs[0].name, graph.output[0].name)
    return Graph(nodes, constants, *ends, size, first, proto, readers, opset)


def _layout(shape: list[int], name: str, input_size: int | None) -> tuple[bool, int]:
    """(channels first, side)."""
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ModelShapeError(
            f"{name}: expected input [N, S, S, 3] or [N, 3, S, S] (RGB), got {shape} (0: open)."
        )
    first = shape[3] != 3
    sides = shape[2:] if first else shape[1:3]
    known = sorted({side for side in sides if side > 0})
    if len(known) > 1:
        raise ModelShapeError(f"{name}: expected a square input [N, S, S, 3], got {shape}.")
    if not known and input_size is None:
        raise UsageError(
            f"{name} leaves the side of its input open. Say what it was trained with, for example: "
            "--input-size 64"
        )
    size = known[0] if known else int(input_size or 0)
    if input_size is not None and input_size != size:
        raise UsageError(f"{name} takes {size} px, --input-size says {input_size}.")
    return first, size


def _node(node: Any) -> Node:
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes)


def evaluate(node: Node, inputs: list[NDArray[Any] | None], opset: int = 17) -> list[NDArray[Any]]:
    """The outputs of a node whose inputs are all constants.

    Raises:
        Untranslatable: ONNX's reference does not know the operation.
    """
    if node.op == "DynamicQuantizeLinear" and inputs[0] is not None:
        # Its rounding is undone by the DequantizeLinear behind it.
        return [inputs[0], np.ones((), np.float32), np.zeros((), np.uint8)]
    if node.op == "DequantizeLinear":
        return [_dequantized(node, inputs)]
    try:
        return _by_reference(node, inputs, opset)
    except Exception as error:  # the reference raises many kinds
        raise Untranslatable(f"operation {node.op} ({node.name}) of constants: {error}") from error


def _dequantized(node: Node, inputs: list[NDArray[Any] | None]) -> NDArray[Any]:
    values, scale = (np.asarray(part, np.float64) for part in inputs[:2])
    zero = inputs[2] if len(inputs) > 2 else None
    zeros = np.zeros_like(scale) if zero is None else np.asarray(zero, np.float64)
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[int(node.number("axis", 1)) % values.ndim] = scale.size
        scale, zeros = scale.reshape(shape), zeros.reshape(shape)
    return np.asarray((values - zeros) * scale, np.float32)


def _by_reference(node: Node, inputs: list[NDArray[Any] | None], opset: int) -> list[NDArray[Any]]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.op == "Constant":
        value = node.attributes.get("value")
        if value is not None:
            return [np.asarray(onnx.numpy_helper.to_array(value))]
        return [np.asarray(next(iter(node.attributes.values())))]
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(inputs)]
    outs = [f"o{k}" for k in range(len(node.outputs))]
    made = onnx.helper.make_node(node.op, names, outs, **dict(node.attributes))
    feeds = {f"i{k}": value for k, value in enumerate(inputs) if value is not None}
    known = [onnx.helper.make_tensor_value_info(k, _kind(v), v.shape) for k, v in feeds.items()]
    free = [onnx.helper.make_tensor_value_info(o, 0, None) for o in outs]
    small = onnx.helper.make_model(
        onnx.helper.make_graph([made], "one", known, free),
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )
    return [np.asarray(value) for value in ReferenceEvaluator(small).run(None, feeds)]


def _kind(value: NDArray[Any]) -> int:
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(value.dtype))
