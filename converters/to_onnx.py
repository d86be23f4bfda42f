"""Keras or TFLite -> ONNX.

The float32 ONNX is made from Keras; the int8 one from the int8 TFLite, so that both carry the same
weights, scales and zero points and differ in nothing but the file format. Opset 17: from 18 on
tf2onnx turns global average pooling into ReduceMean.

In the int8 file no two nodes share a constant. On x86-64 without VNNI, ONNX Runtime's fast kernels
let sums of products overflow 16 bits; its precise ones (see ``runtime.engines``) rewrite each
weight with its zero point and refuse one that another node uses too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from converters import graph_copies
from converters.quiet import quiet, require

OPSET = 17
INPUT_NAME = "pixels"
OUTPUT_NAME = "logit"


def from_keras(model: Any) -> bytes:
    """A float Keras model (no ``FakeQuant`` layers) -> bytes of a float32 .onnx file.

    Raises:
        MissingExtra: TensorFlow or tf2onnx is not installed.
    """
    require("tensorflow")
    require("tf2onnx")
    with quiet(), graph_copies.freed():
        import tensorflow as tf
        import tf2onnx

        shape = (None, *model.input_shape[1:])
        signature = [tf.TensorSpec(shape, tf.float32, name=INPUT_NAME)]

        def logits(pixels: Any) -> Any:
            return model(pixels, training=False)

        proto, _ = tf2onnx.convert.from_function(
            tf.function(logits, input_signature=signature), input_signature=signature, opset=OPSET
        )
        return _named(proto)


def from_tflite(data: bytes) -> bytes:
    """A .tflite file -> bytes of a .onnx file with the same tensors (int8 as QDQ)."""
    require("tf2onnx")
    with quiet(), graph_copies.freed(), tempfile.TemporaryDirectory() as folder:
        import tf2onnx

        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        proto, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
        _unshare(proto.graph)
        return _named(proto)


def _unshare(graph: Any) -> None:
    """Gives each use of a constant a copy of its own."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used: set[str] = set()
    for index, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            if name in used:
                copy = _copy(constants[name])
                copy.name = f"{name}__{index}_{place}"
                graph.initializer.append(copy)
                node.input[place] = copy.name
            elif name in constants:
                used.add(name)


def _named(proto: Any) -> bytes:
    """Canonical order and names, a free batch axis, and no trace of this machine.

    tf2onnx orders and names nodes by Python's string hashes, which differ from process to process;
    the same model must give the same bytes.
    """
    graph = proto.graph
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    names = {graph.input[0].name: INPUT_NAME, graph.output[0].name: OUTPUT_NAME}
    nodes = _in_order(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[Any] = []
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"
        for name in node.input:
            if name in constants and name not in names:
                names[name] = f"constant_{len(kept)}"
                kept.append(constants[name])
        for place, name in enumerate(node.output):
            names.setdefault(name, f"value_{index}_{place}")
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (graph.input[0], graph.output[0], *kept):
        value.name = names[value.name]
    ordered, places = [_copy(node) for node in nodes], {t.name: i for i, t in enumerate(kept)}
    for name in ("node", "value_info"):
        graph.ClearField(name)
    graph.node.extend(ordered)
    # In place: copies of a large network's weights would lie beside each other.
    graph.initializer.sort(key=lambda tensor: places.get(tensor.name, len(places)))
    del graph.initializer[len(places) :]
    graph.name = "edge_malaria"
    proto.doc_string = graph.doc_string = ""
    return bytes(proto.SerializeToString(deterministic=True))


def _copy(message: Any) -> Any:
    other = type(message)()
    other.CopyFrom(message)
    return other


def _in_order(graph: Any) -> list[Any]:
    """The nodes that the output needs, each after its inputs, by depth first from the output."""
    makers = {name: node for node in graph.node for name in node.output}
    done: dict[int, Any] = {}
    waiting = [(makers[graph.output[0].name], False)]
    while waiting:
        node, seen = waiting.pop()
        if id(node) in done:
            continue
        if seen:
            done[id(node)] = node
            continue
        waiting.append((node, True))
        waiting += [(makers[name], False) for name in reversed(node.input) if name in makers]
    return list(done.values())
