"""Equalizing changes no answer, and gives int8 back what unequal channels took."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="converting needs the [export] extra")

from converters.equalize import equalized
from converters.keras_engine import KerasEngine
from converters.to_tflite import convert
from edge_malaria.runtime.engines.opening import open_engine

CELLS = np.random.default_rng(3).integers(0, 256, (48, 24, 24, 3), dtype=np.uint8)


def _uneven() -> Any:
    """A network whose channels differ by up to a thousand times; the next layer undoes it."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    inputs = keras.Input((24, 24, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="first")(inputs))
    x = layers.MaxPooling2D()(x)
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same", name="depth")(x))
    x = layers.Conv2D(8, 1, activation="relu", name="point")(x)
    model = keras.Model(inputs, layers.Dense(1, name="logit")(layers.Flatten()(x)))
    spread = np.geomspace(0.03, 30.0, 8)
    kernel, bias = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel * spread / 64.0, bias])
    kernel, bias = model.get_layer("depth").get_weights()
    model.get_layer("depth").set_weights([kernel / spread[:, None], bias])
    return model


def _noise(model: Any, reference: np.ndarray) -> float:
    got = open_engine(convert(model, "int8", CELLS), "litert").run(CELLS).reshape(-1)
    return float(np.sqrt(np.mean((got - reference) ** 2)) / reference.std())


def test_answers_stay_and_int8_gets_better() -> None:
    model = _uneven()
    reference = KerasEngine(model).run(CELLS).reshape(-1)
    made = equalized(model, CELLS)
    assert np.abs(KerasEngine(made).run(CELLS).reshape(-1) - reference).max() < 1e-4
    assert _noise(made, reference) < 0.5 * _noise(model, reference)
    assert np.array_equal(KerasEngine(model).run(CELLS).reshape(-1), reference), "left as it was"
