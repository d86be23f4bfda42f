"""Which channels of a network belong together, and the network without some of them.

Every output channel of a mixing layer (convolution, dense) gets a number. Depthwise convolutions,
batch norms, activations and pooling hand numbers on; an addition makes the numbers of its inputs
one (a skip connection's channels live and die together); a concatenation lines them up; a flatten
repeats them. Removing numbers then means: slice every layer's inputs and outputs and build again.
Works for linear, residual, inception and depthwise-separable graphs alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelShapeError
from edge_malaria.keras_inputs import LocalContrastNormalization, PerImageCentering, Whitening
from edge_malaria.keras_layers import FakeQuant, keras

Numbers = NDArray[np.int64]

_PASSING = (
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Activation,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Rescaling,
    keras.layers.DepthwiseConv2D,
    FakeQuant,
    PerImageCentering,
    LocalContrastNormalization,
)


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """The channels of a network.

    Attributes:
        outputs: layer name -> number of each output channel, int64 [C].
        inputs: mixing layer's name -> number of each input channel, int64 [C].
        prunable: numbers that may be removed (not the pixels, not the logit).
        producers: number -> (mixing layer, index) pairs that write it.
    """

    outputs: dict[str, Numbers]
    inputs: dict[str, Numbers]
    prunable: Numbers
    producers: dict[int, list[tuple[str, int]]]

    def group_of(self, number: int) -> str:
        """The layer a channel is named after: the first that writes it."""
        return self.producers[number][0][0]


def is_mixing(layer: Any) -> bool:
    """Whether a layer mixes channels: convolution (not depthwise) or dense."""
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))


class _Unions:
    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> Numbers:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def root(self, number: int) -> int:
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.root(first), self.root(second)))
        self.parent[high] = low

    def roots(self, numbers: Numbers) -> Numbers:
        return np.array([self.root(int(number)) for number in numbers], dtype=np.int64)


def map_channels(model: Any) -> ChannelMap:
    """Numbers every channel of ``model``.

    Raises:
        ModelShapeError: a layer that this does not know.
    """
    unions = _Unions()
    outputs: dict[str, Numbers] = {}
    inputs: dict[str, Numbers] = {}
    fixed: list[Numbers] = []
    for layer in model.layers:
        parents = [node.operation.name for node in layer._inbound_nodes[0].parent_nodes]
        given = [outputs[name] for name in parents]
        if isinstance(layer, keras.layers.InputLayer):
            outputs[layer.name] = unions.fresh(int(layer.output.shape[-1]))
            fixed.append(outputs[layer.name])
        elif is_mixing(layer):
            inputs[layer.name] = given[0]
            outputs[layer.name] = unions.fresh(int(layer.output.shape[-1]))
            if isinstance(layer, Whitening):
                fixed.append(outputs[layer.name])
        else:
            outputs[layer.name] = _handed_on(layer, given, unions)
    fixed.append(outputs[model.layers[-1].name])
    return _resolved(unions, outputs, inputs, np.concatenate(fixed))


def _handed_on(layer: Any, given: list[Numbers], unions: _Unions) -> Numbers:
    if isinstance(layer, keras.layers.Add):
        for other in given[1:]:
            for first, second in zip(given[0], other, strict=True):
                unions.join(int(first), int(second))
        return given[0]
    if isinstance(layer, keras.layers.Concatenate):
        return np.concatenate(given)
    if isinstance(layer, keras.layers.Flatten):
        repeats = int(layer.output.shape[-1]) // len(given[0])
        return np.tile(given[0], repeats)
    known = isinstance(layer, _PASSING)
    if known and not (
        isinstance(layer, keras.layers.DepthwiseConv2D) and layer.depth_multiplier != 1
    ):
        return given[0]
    raise ModelShapeError(f"pruning does not know the layer {layer.name} ({type(layer).__name__}).")


def _resolved(
    unions: _Unions, outputs: dict[str, Numbers], inputs: dict[str, Numbers], fixed: Numbers
) -> ChannelMap:
    outputs = {name: unions.roots(numbers) for name, numbers in outputs.items()}
    inputs = {name: unions.roots(numbers) for name, numbers in inputs.items()}
    producers: dict[int, list[tuple[str, int]]] = {}
    for name in inputs:
        for index, number in enumerate(outputs[name].tolist()):
            producers.setdefault(number, []).append((name, index))
    untouchable = set(unions.roots(fixed).tolist())
    prunable = np.array(sorted(set(producers) - untouchable), dtype=np.int64)
    return ChannelMap(outputs, inputs, prunable, producers)


def without_channels(model: Any, channels: ChannelMap, removed: Numbers) -> Any:
    """A smaller network: ``model`` without the channels ``removed``.

    Args:
        model: the network that ``channels`` maps; stays as it is.
        channels: from ``map_channels(model)``.
        removed: numbers out of ``channels.prunable``.

    Returns:
        A new ``keras.Model`` with the remaining weights; its outputs are those of ``model`` with
        the removed channels silenced.

    Raises:
        ModelShapeError: a layer would lose all its channels.
    """
    kept = {
        name: np.flatnonzero(~np.isin(numbers, removed))
        for name, numbers in channels.outputs.items()
    }
    for name, indices in kept.items():
        if not len(indices):
            raise ModelShapeError(f"pruning would leave layer {name} without channels.")

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        for key in ("filters", "units"):
            if key in config and is_mixing(layer):
                config[key] = len(kept[layer.name])
        return type(layer).from_config(config)

    smaller = keras.models.clone_model(model, clone_function=clone)
    sources = {layer.name: layer for layer in model.layers}
    for layer in smaller.layers:
        if layer.weights:
            weights = [np.asarray(value) for value in sources[layer.name].get_weights()]
            layer.set_weights(_sliced(layer, weights, channels, kept[layer.name], removed))
    return smaller


def _sliced(
    layer: Any, weights: list[Any], channels: ChannelMap, kept: Numbers, removed: Numbers
) -> list[Any]:
    if isinstance(layer, FakeQuant):
        return weights
    if is_mixing(layer):
        incoming = np.flatnonzero(~np.isin(channels.inputs[layer.name], removed))
        kernel = weights[0][..., incoming, :][..., kept]
        return [kernel, *(bias[kept] for bias in weights[1:])]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [weights[0][:, :, kept, :], *(bias[kept] for bias in weights[1:])]
    return [value[kept] for value in weights]


def with_gates(model: Any, channels: ChannelMap) -> Any:
    """``model`` with a ``ChannelGate`` of ones before every mixing layer.

    A channel matters only through the mixing layers that read it, skip connections included:
    gates at 0 silence it exactly, and the sum of its gates' gradients is the loss's derivative
    with respect to keeping it.
    """

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in channels.inputs:
            gate = ChannelGate(name=f"{layer.name}_gate")
            args = (gate(args[0]), *args[1:])
        return layer(*args, **kwargs)

    gated = keras.models.clone_model(model, call_function=call)
    sources = {layer.name: layer for layer in model.layers}
    for layer in gated.layers:
        if layer.name in sources and layer.weights:
            layer.set_weights(sources[layer.name].get_weights())
    return gated


class ChannelGate(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies each channel by its gate; used while criteria are measured, never saved."""

    def build(self, input_shape: Any) -> None:
        """One gate a channel, all open."""
        self.gate = self.add_weight(name="gate", shape=(input_shape[-1],), initializer="ones")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """inputs x gates."""
        return inputs * self.gate

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape


def set_gates(gated: Any, channels: ChannelMap, removed: Numbers) -> None:
    """Closes the gates of ``removed`` and opens all others."""
    for name, numbers in channels.inputs.items():
        gate = gated.get_layer(f"{name}_gate").gate
        gate.assign((~np.isin(numbers, removed)).astype(np.float32))
