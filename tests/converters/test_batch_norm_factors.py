"""Batch norms before their convolution stay factors in int8: no kernel, and none of its rules."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edge_malaria.parity.tflite_file import read_tensors
from edge_malaria.parity.weights import check_file_weights

pytest.importorskip("tensorflow", reason="converting needs the [export] extra")
pytestmark = pytest.mark.slow


def test_factors_of_a_batch_norm_are_held_to_no_rule_of_kernels() -> None:
    """As in DenseNet: what two layers join to is normalized before it is convolved."""
    import keras

    from converters.to_tflite import convert

    rng = np.random.default_rng(3)
    inputs = keras.Input((16, 16, 3))
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    both = [keras.layers.Conv2D(8, 3, padding="same")(scaled) for _ in range(2)]
    norm = keras.layers.BatchNormalization(name="norm")
    x = keras.layers.ReLU()(norm(keras.layers.Concatenate()(both)))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    norm.set_weights([rng.uniform(0.5, 1.5, 16), *rng.normal(0, 0.2, (2, 16)), np.full(16, 0.7)])
    cells = rng.integers(0, 256, (32, 16, 16, 3), np.uint8)
    tensors = read_tensors(convert(model, "int8", cells))
    factors = [one for one in tensors if one.values is not None and one.shape[-1:] == (16,)]
    factors = [one for one in factors if one.values.size == 16 and one.dtype == "int8"]
    assert factors and all(len(one.scales) == 1 for one in factors)
    assert not any(one.is_kernel for one in factors)
    assert sum(one.is_kernel for one in tensors) == 4
    file = SimpleNamespace(name="litert.int8", variant="int8", tensors=tensors)
    assert check_file_weights(file) == []
