"""Networks as other people make them: own ranges, colours, sizes, heads and class orders.

Their pixels are prepared here with OpenCV and numpy alone, as an author's script would. The last
layer of ``network`` is fitted to drawn cells by least squares, which takes no time and tells them
apart well enough to compare two files; ``trained_network`` is trained for seconds, and 8 bits serve
it. ``author_files`` writes them to files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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


def wrong_ones(habit: Habit) -> list[Habit]:
    """Every contract that differs from the author's in range, colour or class order alone."""
    ranges = ("0-1", "-1-1", "0-255", "imagenet", "caffe")
    found = [replace(habit, input_range=r) for r in ranges if r != habit.input_range]
    found.append(replace(habit, colour="bgr" if habit.colour == "rgb" else "rgb"))
    return [*found, replace(habit, parasitized=1 - habit.parasitized)]
