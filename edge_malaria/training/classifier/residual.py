"""The second network: dense residual convolutions, ten times the parameters of ``compact``.

It is asked about possible cells alone (``runtime.classify.second_network``) and stands beside a
first network in its bundle, so it is none of the registered architectures. Dense convolutions cost
a processor less than separable ones of as many multiplications: a pass of this network takes one
and a half times as long as one of ``compact``, with four times the multiplications.
"""

from __future__ import annotations

from typing import Any

from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures.registry import BN_MOMENTUM, conv_unit

STEM, STAGES = 24, (40, 72, 120)


def _normalized_conv(x: Any, filters: int, name: str, kernel: int = 3) -> Any:
    """Convolution and batch norm without ReLU."""
    conv = keras.layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=f"{name}_conv")
    return keras.layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=1e-3, name=f"{name}_bn")(
        conv(x)
    )


def _stage(x: Any, filters: int, name: str) -> Any:
    """Half the side; two convolutions beside a shortcut of averages (He et al. 2016)."""
    inner = conv_unit(x, filters, f"{name}a", stride=2)
    inner = _normalized_conv(inner, filters, f"{name}b")
    short = keras.layers.AveragePooling2D(2, name=f"{name}_mean")(x)
    short = _normalized_conv(short, filters, f"{name}s", kernel=1)
    added = keras.layers.Add(name=f"{name}_add")([inner, short])
    return keras.layers.ReLU(name=f"{name}_relu")(added)


def residual_network(size_px: int) -> Any:
    """Float32 [N, S, S, 3] of 0-255 RGB -> one logit [N, 1]; S a multiple of 16."""
    inputs = keras.Input((size_px, size_px, 3), name="cell")
    x = keras.layers.Rescaling(1.0 / 255.0, name="scale")(inputs)
    x = conv_unit(x, STEM, "stem", stride=2)
    for number, filters in enumerate(STAGES, start=1):
        x = _stage(x, filters, f"stage{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="logit")(x), name="residual")
