"""Keras or TFLite -> ONNX.

The float32 ONNX is made from Keras; the int8 one from the int8 TFLite, so that both carry the same
weights, scales and zero points and differ in nothing but the file format. Opset 17: from 18 on
tf2onnx turns global average pooling into ReduceMean.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

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
    with quiet():
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
    with quiet(), tempfile.TemporaryDirectory() as folder:
        import tf2onnx

        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        proto, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
        return _named(proto)


def _named(proto: Any) -> bytes:
    """Stable names for input and output, a free batch axis, and no trace of this machine."""
    graph = proto.graph
    renames = {graph.input[0].name: INPUT_NAME, graph.output[0].name: OUTPUT_NAME}
    for node in graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    for value in [graph.input[0], graph.output[0]]:
        value.name = renames[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    graph.name = "edge_malaria"
    proto.doc_string = graph.doc_string = ""
    return bytes(proto.SerializeToString())
