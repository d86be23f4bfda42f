"""Quantization-aware fine-tuning: the folded network learns to live with 8 bits.

Activations pass through ``FakeQuant`` (ranges observed on augmented training cells, then frozen);
kernels are rounded to 127 steps a channel each way, as the converter will. The kernels' rounding
exists during fine-tuning only: what is saved are float kernels and the ranges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_malaria.keras_layers import fake_quant_layers, keras
from edge_malaria.records import Image
from edge_malaria.training.quantization.fold import (
    RANGE_SUFFIX,
    copy_weights,
    fold,
    input_scales,
    with_ranges,
)

# A few saturated outliers among millions of activations would cost everyone else resolution.
RANGE_PERCENTILE = 99.995
WEIGHT_STEPS = 127.0


def rounded_kernel(kernel: Any, axes: tuple[int, ...]) -> Any:
    """Kernel on the int8 grid, symmetric per channel; gradients pass straight through.

    Args:
        kernel: float32 tensor.
        axes: the axes one scale is shared over (all but the channels').
    """
    peak = keras.ops.max(keras.ops.abs(kernel), axis=axes, keepdims=True)
    scale = keras.ops.maximum(peak, 1e-9) / WEIGHT_STEPS
    rounded = keras.ops.round(kernel / scale) * scale
    return kernel + keras.ops.stop_gradient(rounded - kernel)


class RoundedConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """Conv2D with its kernel rounded per output channel."""

    def call(self, inputs: Any) -> Any:
        """Convolves with the rounded kernel."""
        outputs = self.convolution_op(inputs, rounded_kernel(self.kernel, (0, 1, 2)))
        return keras.ops.add(outputs, keras.ops.reshape(self.bias, (1, 1, 1, -1)))


class RoundedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """DepthwiseConv2D with its kernel rounded per channel."""

    def call(self, inputs: Any) -> Any:
        """Convolves with the rounded kernel."""
        outputs = keras.ops.depthwise_conv(
            inputs,
            rounded_kernel(self.kernel, (0, 1)),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return keras.ops.add(outputs, keras.ops.reshape(self.bias, (1, 1, 1, -1)))


class RoundedDense(keras.layers.Dense):  # type: ignore[misc]
    """Dense with its kernel rounded per output."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Multiplies by the rounded kernel."""
        del training
        return keras.ops.matmul(inputs, rounded_kernel(self.kernel, (0,))) + self.bias


ROUNDED: dict[Any, Any] = {
    keras.layers.Conv2D: RoundedConv2D,
    keras.layers.DepthwiseConv2D: RoundedDepthwiseConv2D,
    keras.layers.Dense: RoundedDense,
}


def observe_ranges(
    folded: Any,
    ranged: Any,
    inputs: Image,
    batch: int = 256,
    percentile: float = RANGE_PERCENTILE,
) -> None:
    """Sets each movable range of ``ranged`` from the float network's activations.

    Args:
        folded: the float network; a layer ``x`` is ranged by ``x_range``.
        ranged: from ``with_ranges(folded)``; its ranges are set and frozen.
        inputs: uint8 [N, S, S, 3], training cells as they are fed in training.
        batch: cells at a time.
        percentile: of a batch's activations that lies inside; 100 for all of them.
    """
    ranges = [layer for layer in fake_quant_layers(ranged) if not layer.fixed]
    watched = keras.Model(
        folded.input,
        [folded.get_layer(layer.name.removesuffix(RANGE_SUFFIX)).output for layer in ranges],
    )
    low = np.zeros(len(ranges))
    high = np.full(len(ranges), 1e-6)
    for start in range(0, len(inputs), batch):
        outputs = watched(inputs[start : start + batch].astype(np.float32), training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for index, output in enumerate(outputs):
            values = np.asarray(output)
            low[index] = min(low[index], np.percentile(values, 100.0 - percentile))
            high[index] = max(high[index], np.percentile(values, percentile))
    for index, layer in enumerate(ranges):
        layer.set_range(float(low[index]), float(high[index]))
        layer.observing = False


def prepare(model: Any, inputs: Image, percentile: float = RANGE_PERCENTILE) -> Any:
    """A trained float network -> folded, with observed ranges and rounding kernels, trainable.

    ``percentile``: see ``observe_ranges``.
    """
    folded = fold(model, keep_scale=True)
    plain = with_ranges(folded)
    observe_ranges(folded, plain, inputs, percentile=percentile)
    rounding = with_ranges(folded, ROUNDED)
    _copy_ranges(plain, rounding)
    return rounding


def finish(rounding: Any, model: Any) -> Any:
    """The fine-tuned network as it ships: plain layers, float kernels, ranges, no optimizer.

    Args:
        rounding: from ``prepare(model, ...)``, fine-tuned.
        model: the float network that it came from.
    """
    shipped = with_ranges(fold(model))
    copy_weights(rounding, shipped)
    for name, scale in input_scales(model).items():
        layer = shipped.get_layer(name)
        kernel, *rest = layer.get_weights()
        layer.set_weights([kernel * scale, *rest])
    _copy_ranges(rounding, shipped)
    return shipped


def _copy_ranges(source: Any, target: Any) -> None:
    ranges = {layer.name: layer.range for layer in fake_quant_layers(source)}
    for layer in fake_quant_layers(target):
        layer.set_range(*ranges[layer.name])
        layer.observing = False
