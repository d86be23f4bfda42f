"""Networks as other people make them: own ranges, colours, sizes, heads, class orders and files.

Their pixels are prepared here with OpenCV and numpy alone, as an author's script would. The last
layer of ``network`` is fitted to drawn cells by least squares, which takes no time and tells them
apart well enough to compare two files; ``trained_network`` is trained for seconds, and 8 bits serve
it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_malaria.synthetic import draw_cell

CELLS = 120
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Habit:
    """How one author works."""

    size: int = 50
    input_range: str = "0-1"
    colour: str = "rgb"
    resize: str = "area"
    output: str = "sigmoid"
    parasitized: int = 1
    form: str = "functional"
    file: str = "keras"

    @property
    def classes(self) -> tuple[str, str]:
        """Names in the order of the outputs."""
        names = ("Uninfected", "Parasitized")
        return names if self.parasitized == 1 else names[::-1]


def crops(count: int = CELLS, seed: int = 3) -> tuple[list[Any], Any]:
    """Drawn cells uint8 [H, W, 3] RGB and their labels bool."""
    rng = np.random.default_rng(seed)
    kinds = ("healthy", "schizont")
    drawn = [draw_cell(rng, kinds[i % 2], int(rng.integers(44, 90))) for i in range(count)]
    images = [np.where(c.mask[:, :, None], c.image, 0).astype(np.uint8) for c in drawn]
    return images, np.arange(count) % 2 == 1


def scaled(pixels: Any, habit: Habit) -> Any:
    """RGB pixels uint8 -> what the author's network is fed."""
    x = pixels.astype(np.float32)
    if habit.colour == "bgr":
        x = x[..., ::-1]
    if habit.input_range == "caffe":
        means = [103.939, 116.779, 123.68] if habit.colour == "bgr" else [123.68, 116.779, 103.939]
        return x - np.array(means, np.float32)
    return {
        "0-1": lambda: x / 255.0,
        "-1-1": lambda: x / 127.5 - 1.0,
        "0-255": lambda: x,
        "imagenet": lambda: (x / 255.0 - MEAN) / DEVIATION,
    }[habit.input_range]()


def resized(crop: Any, habit: Habit) -> Any:
    """The author's own resize, on the decoded picture."""
    side = habit.size
    if habit.resize != "pad":
        how = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}[habit.resize]
        return cv2.resize(crop, (side, side), interpolation=how)
    out = np.zeros((side, side, 3), np.uint8)
    height, width = crop.shape[:2]
    rows, columns = min(height, side), min(width, side)
    top, left = (height - rows) // 2, (width - columns) // 2
    to, to_left = (side - rows) // 2, (side - columns) // 2
    out[to : to + rows, to_left : to_left + columns] = crop[top : top + rows, left : left + columns]
    return out


def opencv_misses_a_pixel(crop: Any, habit: Habit) -> bool:
    """Whether ``cv2.INTER_AREA`` takes the pixel before the right one in a row or column.

    Where it enlarges, it finds the first of two neighbours as floor(d * (1 / (side / size))) in
    float64. Where d * size / side is a whole number, that may fall short by one.
    """
    sizes, to = crop.shape[:2], np.arange(habit.size)
    if habit.resize != "area" or min(sizes) >= habit.size:
        return False
    return any((np.floor(to * (1 / (habit.size / n))) != to * n // habit.size).any() for n in sizes)


def prepared(images: list[Any], habit: Habit) -> Any:
    """float32 [N, S, S, 3] as the author's network is fed."""
    return scaled(np.stack([resized(crop, habit) for crop in images]), habit)


def _body(habit: Habit) -> list[Any]:
    from keras import layers

    flat = layers.GlobalAveragePooling2D() if habit.size > 64 else layers.Flatten()
    # Keras leaves such a layer on in what ``model.export`` writes.
    augment = [] if habit.file == "saved_model" else [layers.RandomFlip()]
    return [
        *augment,
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.BatchNormalization(momentum=0.8),
        layers.Conv2D(12, 3, padding="same"),
        layers.BatchNormalization(momentum=0.8),
        layers.ReLU(),
        layers.MaxPooling2D(3),
        layers.Dropout(0.3),
        flat,
        layers.Dense(16, activation="relu"),
    ]


def network(habit: Habit, seed: int = 0) -> Any:
    """The author's Keras model, weights and all; only its last layer is fitted."""
    model, features, head = _assembled(habit, seed)
    _settle_norms(model)
    _fit_head(head, features, habit)
    return model


def trained_network(habit: Habit, seed: int = 0) -> Any:
    """The author's Keras model, trained on drawn cells until it is nearly always right."""
    import keras

    model, _, _ = _assembled(habit, seed)
    images, truth = crops(320, seed=17)
    pixels, sick = prepared(images, habit), truth == (habit.parasitized == 1)
    if habit.output == "softmax":
        targets, loss = np.stack([~sick, sick], 1), keras.losses.CategoricalCrossentropy()
    else:
        logits = habit.output == "logit"
        targets, loss = sick[:, None], keras.losses.BinaryCrossentropy(from_logits=logits)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(pixels, targets.astype(np.float32), batch_size=32, epochs=12, verbose=0)
    images, truth = crops(100, seed=18)
    right = ((answers(model, images, habit) >= 0.5) == truth).mean()
    assert right > 0.95, right
    return model


def _assembled(habit: Habit, seed: int) -> tuple[Any, Any, Any]:
    """(the model, its features before the last layer, the last layer), weights at random."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    shape = (habit.size, habit.size, 3)
    ends = {"logit": (1, None), "sigmoid": (1, "sigmoid"), "softmax": (2, "softmax")}
    units, activation = ends[habit.output]
    head = layers.Dense(units, activation=activation, name="answer")
    body = _body(habit)
    if habit.form == "sequential":
        model = keras.Sequential([keras.Input(shape), *body, head])
        entry, exit_ = model.inputs[0], model.layers[-2].output
    else:
        inputs = keras.Input(shape)
        x = inputs
        if habit.form == "nested":
            part = keras.Sequential([keras.Input(shape), *body[:-2]], name="backbone")
            x = part(x)
            body = body[-2:]
        for layer in body:
            x = layer(x)
        entry, exit_ = inputs, x
        model = keras.Model(inputs, head(x))
    return model, keras.Model(entry, exit_), head


def _settle_norms(model: Any) -> None:
    from keras import layers

    rng = np.random.default_rng(5)
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _settle_norms(layer)
        elif isinstance(layer, layers.BatchNormalization):
            count = len(layer.get_weights()[0])
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, count) * rng.choice([-1, 1], count),
                    rng.normal(0, 0.2, count),
                    rng.normal(0, 0.2, count),
                    rng.uniform(0.5, 2.0, count),
                ]
            )


def _fit_head(head: Any, features: Any, habit: Habit) -> None:
    images, truth = crops()
    found = np.asarray(features(prepared(images, habit), training=False), np.float64)
    spread = found.std() + 1e-9
    design = np.concatenate([found / spread, np.ones((len(found), 1))], axis=1)
    wanted = np.where(truth, 2.0, -2.0)
    ridge = 1e-2 * np.eye(design.shape[1])
    weights = np.linalg.solve(design.T @ design + ridge, design.T @ wanted)
    kernel, bias = weights[:-1, None] / spread, weights[-1:]
    if habit.parasitized == 0:
        kernel, bias = -kernel, -bias
    if habit.output == "softmax":
        kernel, bias = np.concatenate([-kernel, kernel], 1) / 2, np.array([-bias[0], bias[0]]) / 2
    head.set_weights([kernel, bias])


def answers(model: Any, images: list[Any], habit: Habit) -> Any:
    """What the author's script says: the probability of parasitized, float64 [N]."""
    raw = np.asarray(model.predict(prepared(images, habit), verbose=0), np.float64)
    if habit.output == "softmax":
        return raw[:, habit.parasitized]
    p = 1.0 / (1.0 + np.exp(-raw[:, 0])) if habit.output == "logit" else raw[:, 0]
    return p if habit.parasitized == 1 else 1.0 - p


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


def wrong_ones(habit: Habit) -> list[Habit]:
    """Every contract that differs from the author's in range, colour or class order alone."""
    ranges = ("0-1", "-1-1", "0-255", "imagenet", "caffe")
    found = [replace(habit, input_range=r) for r in ranges if r != habit.input_range]
    found.append(replace(habit, colour="bgr" if habit.colour == "rgb" else "rgb"))
    return [*found, replace(habit, parasitized=1 - habit.parasitized)]
