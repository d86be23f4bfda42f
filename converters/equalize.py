"""Channels of one activation brought to one size, so that 8 bits serve them all.

Behind a ReLU a channel may be made smaller and the next layer's weights for it larger by the same
factor: the network's function stays. int8 has one scale for all channels of an activation, so a
channel a hundred times smaller than its neighbours is left with two steps. Nagel et al., "Data-free
quantization through weight equalization and bias correction", ICCV 2019; with ranges of activations
that calibration cells show, because this project's kernels have a scale a channel anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.keras_engine import in_batches
from edge_malaria.keras_layers import keras
from edge_malaria.records import Image

_WEIGHTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
_PASSING = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Flatten,
    keras.layers.Dropout,
)
# A channel is never scaled by more than this: behind it lies a channel that hardly speaks.
_MOST = 1000.0
_CELLS = 128


@dataclass(frozen=True, eq=False)
class _Pair:
    """A layer, where its channels are stored, and the only layer that reads them."""

    first: Any
    stored: Any
    second: Any


def _readers(model: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {layer.name: [] for layer in model.layers}
    for layer in model.layers:
        for node in layer._inbound_nodes[:1]:
            for parent in node.parent_nodes:
                found[parent.operation.name].append(layer)
    return found


def _homogeneous(layer: Any) -> bool:
    """Whether f(s x) = s f(x) for s > 0."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    if isinstance(layer, keras.layers.LeakyReLU):
        return True
    if isinstance(layer, keras.layers.Activation):
        return layer.activation in (keras.activations.relu, keras.activations.linear)
    return isinstance(layer, _PASSING)


def _fused(layer: Any) -> bool:
    return layer.activation in (keras.activations.relu, keras.activations.linear)


def _pairs(model: Any) -> list[_Pair]:
    readers, found = _readers(model), []
    for layer in model.layers:
        if not (isinstance(layer, _WEIGHTED) and layer.use_bias and _fused(layer)):
            continue
        last, stored = layer, layer
        while len(readers[last.name]) == 1 and _homogeneous(readers[last.name][0]):
            last = readers[last.name][0]
            if not isinstance(last, _PASSING):
                stored = last
        after = readers[last.name]
        if len(after) == 1 and isinstance(after[0], _WEIGHTED):
            found.append(_Pair(layer, stored, after[0]))
    return found


def equalized(model: Any, cells: Image) -> Any:
    """The same function with its channels at one size.

    Args:
        model: Keras Functional, pixels in, one logit out; stays as it is.
        cells: uint8 [N, S, S, 3], train cells that show the ranges.
    """
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    pairs = _pairs(made)
    if not pairs:
        return made
    chosen = cells[:: max(1, len(cells) // _CELLS)][:_CELLS]
    for pair, largest in zip(pairs, _largest(made, pairs, chosen), strict=True):
        _balance(pair, largest)
    return made


def _largest(model: Any, pairs: list[_Pair], cells: Image) -> list[NDArray[np.float64]]:
    """The largest size of each channel of each pair, one row of channels a pair.

    One run serves them all: balancing one pair changes no activation of another.
    """
    found: list[Any] = [0.0] * len(pairs)
    watched = keras.Model(model.input, [pair.stored.output for pair in pairs])
    for part in in_batches(model, cells):
        outputs = watched(part.astype(np.float32), training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for index, values in enumerate(outputs):
            sizes = np.abs(np.asarray(values)).reshape(-1, values.shape[-1]).max(axis=0)
            found[index] = np.maximum(found[index], sizes)
    return [sizes.astype(np.float64) for sizes in found]


def _balance(pair: _Pair, largest: NDArray[np.float64]) -> None:
    kernel, *rest = (np.asarray(w, np.float64) for w in pair.second.get_weights())
    channels = len(largest)
    wide = isinstance(pair.second, keras.layers.DepthwiseConv2D)
    # [places, channels, outputs]: a dense layer behind Flatten has its channels innermost.
    rows = kernel if wide else kernel.reshape(-1, channels, kernel.shape[-1])
    weights = np.abs(rows).max(axis=(0, 1, 3) if wide else (0, 2))
    factor = np.ones(channels)
    heard = (largest > 0.0) & (weights > 0.0)
    factor[heard] = np.sqrt(weights[heard] / largest[heard])
    factor[heard] /= np.exp(np.log(factor[heard]).mean())
    factor = np.clip(factor, 1.0 / _MOST, _MOST)
    rows = rows / (factor[None, None, :, None] if wide else factor[None, :, None])
    pair.second.set_weights([rows.reshape(kernel.shape), *rest])
    own, bias = (np.asarray(w, np.float64) for w in pair.first.get_weights())
    if isinstance(pair.first, keras.layers.DepthwiseConv2D):
        own = own * factor.reshape(own.shape[2], own.shape[3])
    else:
        own = own * factor
    pair.first.set_weights([own, bias * factor])
