"""Networks to convert: one with weights set by hand, and one that is trained and truly works."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def spot_network(size_px: int = 48, seed: int = 7, stride: int = 2) -> Any:
    """A quantization-ready net whose logit rises with dark purple spots in a cell.

    Args:
        size_px: side of the input.
        seed: of the weights that are not set by hand; they give every layer something to do.
        stride: of the depthwise convolution; 2 makes all that follows four times cheaper.

    Returns:
        A ``keras.Model``: pixels [N, S, S, 3] -> logit [N, 1], with FakeQuant ranges.
    """
    import keras

    from edge_malaria.keras_layers import FakeQuant

    rng = np.random.default_rng(seed)
    inputs = keras.Input((size_px, size_px, 3))
    x = FakeQuant(0.0, 255.0, fixed=True, name="pixels")(inputs)
    first = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first")
    x = FakeQuant(0.0, 3.0, name="first_range")(first(x))
    depth = keras.layers.DepthwiseConv2D(
        3, strides=stride, padding="same", activation="relu", name="depth"
    )
    x = FakeQuant(0.0, 3.0, name="depth_range")(depth(x))
    point = keras.layers.Conv2D(160, 1, activation="relu", name="point")
    x = FakeQuant(0.0, 3.0, name="point_range")(point(x))
    x = FakeQuant(0.0, 1.5, name="mean_range")(keras.layers.GlobalAveragePooling2D()(x))
    head = keras.layers.Dense(1, name="head")
    model = keras.Model(inputs, FakeQuant(-8.0, 8.0, name="logit_range")(head(x)))
    _set_weights(first, depth, point, head, rng)
    _set_ranges(model)
    return model


def _set_ranges(model: Any) -> None:
    """Each range becomes what the layer before it gives on drawn cells."""
    import keras

    from edge_malaria.keras_layers import FakeQuant
    from edge_malaria.prepare.preprocess import network_input
    from edge_malaria.synthetic import draw_cell

    size_px, rng = int(model.input_shape[1]), np.random.default_rng(11)
    drawn = [draw_cell(rng, kind) for kind in ("healthy", "ring", "schizont") for _ in range(40)]
    cells = np.stack([network_input(cell.image, size_px, cell.mask) for cell in drawn])
    for layer in model.layers:
        if isinstance(layer, FakeQuant) and not layer.fixed:
            values = keras.Model(model.input, layer.input)(cells.astype(np.float32))
            low, high = float(np.min(values)), float(np.max(values))
            layer.set_range(min(low, 0.0), max(high, 1e-3))


def _set_weights(first: Any, depth: Any, point: Any, head: Any, rng: np.random.Generator) -> None:
    # Channel 0 answers to red minus green: chromatin absorbs green more than haemoglobin does.
    kernel = rng.normal(0.0, 0.02, (3, 3, 3, 8))
    kernel[..., 0] = np.array([1.0, -1.2, 0.25])[None, None] / 9.0
    first.set_weights([kernel / 64.0, np.zeros(8)])
    spread = np.abs(rng.normal(0.0, 0.1, (3, 3, 8, 1))) + 1.0 / 9.0
    depth.set_weights([spread, np.full(8, 0.0)])
    mix = rng.normal(0.0, 0.1, (1, 1, 8, 160))
    mix[..., 0, 0] = 1.0
    point.set_weights([mix, np.concatenate([[-0.2], np.full(159, 0.05)])])
    weights = rng.normal(0.0, 0.02, (160, 1))
    weights[0] = 6.0
    head.set_weights([weights, np.array([-4.8])])


def working_network(size_px: int = 48, seed: int = 1) -> Any:
    """A float net that is trained for seconds and tells drawn cells of all stages apart.

    Its AUC on other drawn cells is above .99 and checked to be above .97, so that no test which
    needs a network that works depends on a processor's rounding.

    Args:
        size_px: side of the input.
        seed: of its weights and of the cells it is trained on.

    Returns:
        A ``keras.Model``: pixels [N, S, S, 3] -> logit [N, 1].
    """
    import keras
    from keras import layers

    from edge_malaria import metrics

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size_px, size_px, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    for filters in (8, 16, 24):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.Flatten()(layers.MaxPooling2D(x.shape[1])(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.02)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    pixels, truth = all_stages(300, size_px, seed)
    model.fit(pixels, truth.astype(np.float32), batch_size=32, epochs=15, verbose=0)
    pixels, truth = all_stages(100, size_px, seed + 1000)
    found = metrics.auc(truth, model.predict(pixels, verbose=0)[:, 0].astype(np.float64))
    assert found is not None and found > 0.97, found
    return model


def all_stages(each: int, size_px: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``each`` healthy and ``each`` parasitized drawn cells [N, S, S, 3], and their truth [N]."""
    from edge_malaria.prepare.preprocess import network_input
    from edge_malaria.synthetic import draw_cell

    rng = np.random.default_rng(seed)
    stages = ("ring", "late-trophozoite", "schizont", "gametocyte")
    pixels = []
    for number in range(2 * each):
        kind = "healthy" if number % 2 else stages[number // 2 % 4]
        cell = draw_cell(rng, kind, int(rng.integers(40, 111)))  # type: ignore[arg-type]
        pixels.append(network_input(cell.image, size_px, cell.mask))
    return np.stack(pixels).astype(np.float32), np.arange(2 * each) % 2 == 0
