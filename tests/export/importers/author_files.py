"""The networks of ``authors`` as files of every kind that is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.export.importers.authors import Habit


def saved(model: Any, folder: Path, habit: Habit) -> Path:
    """The model in the author's kind of file."""
    import tensorflow as tf

    from converters.quiet import quiet

    with quiet():
        if habit.file == "saved_model":
            model.export(folder / "theirs")
            return folder / "theirs"
        if habit.file == "tflite":
            path = folder / "theirs.tflite"
            path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
            return path
        if habit.file == "onnx":
            return _as_pytorch(model, folder / "theirs.onnx", habit)
        path = folder / ("theirs.keras" if habit.file == "keras" else "theirs.h5")
        model.save(path)
    if habit.file == "keras2":
        _age(path)
    return path


def _age(path: Path) -> None:
    """Rewrites an .h5 file's configuration in the words of Keras 2."""
    import h5py

    with h5py.File(path, "r+") as stored:
        config = json.loads(stored.attrs["model_config"])
        stored.attrs["model_config"] = json.dumps(_older(config))
        stored.attrs["keras_version"] = "2.12.0"


def _older(value: Any) -> Any:
    if isinstance(value, list):
        return [_older(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    made = {k: _older(v) for k, v in value.items() if k not in ("module", "registered_name")}
    if "batch_shape" in made:
        made["batch_input_shape"] = made.pop("batch_shape")
    return made


def _as_pytorch(model: Any, path: Path, habit: Habit) -> Path:
    """The same weights as torch.onnx.export writes them: NCHW, Flatten, Gemm with transB."""
    import onnx
    from onnx import helper, numpy_helper

    nodes, constants, now = [], [], "picture"

    def add(op: str, *weights: Any, **attributes: Any) -> None:
        nonlocal now
        names = []
        for value in weights:
            names.append(f"w{len(constants)}")
            constants.append(numpy_helper.from_array(np.asarray(value, np.float32), names[-1]))
        out = f"/{op.lower()}_{len(nodes)}/{op}_output_0"
        nodes.append(helper.make_node(op, [now, *names], [out], **attributes))
        now = out

    sides: tuple[int, ...] = ()
    for layer in model.layers:
        kind, weights = type(layer).__name__, layer.get_weights()
        if kind == "Conv2D":
            total = 2 if layer.strides == (1, 1) or layer.input.shape[1] % 2 else 1
            pads = [total // 2] * 2 + [total - total // 2] * 2
            kernel = weights[0].transpose(3, 2, 0, 1)
            add("Conv", kernel, weights[1], pads=pads, strides=list(layer.strides))
            if layer.activation.__name__ == "relu":
                add("Relu")
        elif kind == "BatchNormalization":
            add("BatchNormalization", *weights, epsilon=layer.epsilon)
        elif kind == "ReLU":
            add("Relu")
        elif kind == "MaxPooling2D":
            size = list(layer.pool_size)
            add("MaxPool", kernel_shape=size, strides=size)
            sides = layer.output.shape[1:]
        elif kind == "GlobalAveragePooling2D":
            add("GlobalAveragePool")
            add("Flatten")
            sides = ()
        elif kind == "Flatten":
            add("Flatten")
        elif kind == "Dense":
            kernel = weights[0]
            if sides:
                rows = np.arange(len(kernel)).reshape(sides).transpose(2, 0, 1).reshape(-1)
                kernel, sides = kernel[rows], ()
            add("Gemm", kernel.T, weights[1], transB=1)
            word = layer.activation.__name__
            if word != "linear":
                add({"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}[word])
    units = 2 if habit.output == "softmax" else 1
    entry = helper.make_tensor_value_info("picture", 1, ["n", 3, habit.size, habit.size])
    end = helper.make_tensor_value_info(now, 1, ["n", units])
    graph = helper.make_graph(nodes, "torch", [entry], [end], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))
    return path
