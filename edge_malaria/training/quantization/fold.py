"""From a trained network to the one that ships: batch norms folded, int8 ranges in place.

``fold(model)`` returns the same function with every batch norm (and the 1/255) multiplied into
the convolution before it, so that the int8 network is convolutions, ReLUs, one mean and one dense
layer. ``with_ranges(model)`` puts a ``FakeQuant`` behind each activation the int8 network stores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_malaria.errors import ModelShapeError
from edge_malaria.keras_layers import PIXEL_RANGE, FakeQuant, keras

RANGE_SUFFIX = "_range"
LINEAR_LAYERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def parents_of(model: Any) -> dict[str, list[Any]]:
    """Layer name -> the layers whose outputs it takes."""
    found: dict[str, list[Any]] = {}
    for layer in model.layers:
        nodes = layer._inbound_nodes
        found[layer.name] = [node.operation for node in nodes[0].parent_nodes] if nodes else []
    return found


def _foldable(model: Any) -> dict[str, Any]:
    """Convolution or dense layer's name -> the batch norm that follows it directly."""
    producers = parents_of(model)
    consumers: dict[str, int] = {}
    for parents in producers.values():
        for parent in parents:
            consumers[parent.name] = consumers.get(parent.name, 0) + 1
    pairs = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            parent = producers[layer.name][0]
            linear = isinstance(parent, LINEAR_LAYERS)
            if linear and consumers[parent.name] == 1:
                pairs[parent.name] = layer
    return pairs


RANGEABLE_LAYERS = (
    *LINEAR_LAYERS,
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Add,
    keras.layers.Concatenate,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.ZeroPadding2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
)


def obstacle(model: Any) -> str | None:
    """Why ``model`` cannot be folded and fine-tuned with int8 rounding; None where it can.

    A network with an obstacle is still trained in float; its int8 ranges are then measured at
    export (``--data``).
    """
    producers = parents_of(model)
    pairs = _foldable(model)
    norms = {norm.name for norm in pairs.values()}
    for layer in model.layers:
        kind = type(layer).__name__
        rectifier = isinstance(layer, keras.layers.Activation) and (
            layer.activation is keras.activations.relu
        )
        if not (isinstance(layer, RANGEABLE_LAYERS) or rectifier):
            return f"{kind} layer {layer.name} has no int8 range"
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name not in norms:
            return f"batch norm {layer.name} does not follow a convolution alone"
        if isinstance(layer, LINEAR_LAYERS):
            if layer.activation is not keras.activations.linear:
                return f"{kind} layer {layer.name} has its activation fused in"
            if not layer.use_bias and layer.name not in pairs:
                return f"{kind} layer {layer.name} has neither bias nor batch norm"
        elif any(isinstance(parent, keras.layers.Rescaling) for parent in producers[layer.name]):
            return f"the scaling by 1/255 is followed by {kind} layer {layer.name}"
    return None


def _with_bias(layer: Any) -> Any:
    config = layer.get_config()
    config["use_bias"] = True
    return type(layer).from_config(config)


def fold(model: Any, *, keep_scale: bool = False) -> Any:
    """The same network without batch norms and without its Rescaling layer.

    Args:
        model: float32 [N, S, S, 3] in 0-255 -> logit; every batch norm directly behind a
            convolution or dense layer, one Rescaling (offset 0) at the input.
        keep_scale: leave the Rescaling in. Fine-tuning needs that: an optimizer's steps of equal
            size would wreck a first kernel that is 255 times smaller than the others.

    Returns:
        A new model whose outputs agree to float rounding.

    Raises:
        ModelShapeError: a batch norm that cannot be folded.
    """
    pairs = _foldable(model)
    norms = {norm.name for norm in pairs.values()}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name not in norms:
            raise ModelShapeError(f"batch norm {layer.name} does not follow a convolution alone.")

    def clone(layer: Any) -> Any:
        if layer.name in pairs:
            return _with_bias(layer)
        return type(layer).from_config(layer.get_config())

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        scale = isinstance(layer, keras.layers.Rescaling) and not keep_scale
        dropped = layer.name in norms or scale
        return args[0] if dropped else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    sources = {layer.name: layer for layer in model.layers}
    scales = {} if keep_scale else input_scales(model)
    for layer in folded.layers:
        if not layer.weights:  # an input layer may come back under another name
            continue
        weights = _folded_weights(sources[layer.name], pairs.get(layer.name))
        if weights and layer.name in scales:
            weights[0] = weights[0] * scales[layer.name]
        layer.set_weights(weights)
    return folded


def input_scales(model: Any) -> dict[str, float]:
    """Layer name -> factor of the Rescaling directly before it."""
    scales = {}
    for name, parents in parents_of(model).items():
        if len(parents) == 1 and isinstance(parents[0], keras.layers.Rescaling):
            if parents[0].offset != 0:
                raise ModelShapeError("a Rescaling with an offset cannot be folded: pads are 0.")
            scales[name] = float(parents[0].scale)
    return scales


def _folded_weights(layer: Any, norm: Any | None) -> list[Any]:
    weights = [np.asarray(weight) for weight in layer.get_weights()]
    if norm is None:
        return weights
    gamma, beta, mean, variance = (
        np.asarray(value) if value is not None else default
        for value, default in (
            (norm.gamma, 1.0),
            (norm.beta, 0.0),
            (norm.moving_mean, 0.0),
            (norm.moving_variance, 1.0),
        )
    )
    factor = gamma / np.sqrt(variance + norm.epsilon)
    kernel = weights[0]
    bias = weights[1] if len(weights) > 1 else 0.0
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # A depthwise kernel is [h, w, channels, multiplier]; outputs run channel by channel.
        kernel = kernel * factor.reshape(kernel.shape[2], kernel.shape[3])
    else:
        kernel = kernel * factor
    return [kernel, (bias - mean) * factor + beta]


def _stores_activation(layer: Any, followed_by_activation: set[str]) -> bool:
    """Whether the int8 network stores this layer's output (a ReLU is fused into its producer)."""
    if layer.name in followed_by_activation or isinstance(layer, FakeQuant):
        return False
    kept = (
        *LINEAR_LAYERS,
        keras.layers.ReLU,
        keras.layers.Activation,
        keras.layers.Add,
        keras.layers.Concatenate,
        keras.layers.GlobalAveragePooling2D,
        keras.layers.AveragePooling2D,
    )
    return isinstance(layer, kept)


def _class_for(layer: Any, types: dict[Any, Any]) -> Any:
    return types.get(type(layer), type(layer))


def with_ranges(model: Any, layer_types: dict[Any, Any] | None = None) -> Any:
    """A folded network with a FakeQuant behind the input and each stored activation.

    Args:
        model: from ``fold``; layers with a fused activation are fine too.
        layer_types: replacements by type, for example convolutions that also round their weights.

    Returns:
        A new model with the weights copied; the ranges are still to be observed.
    """
    types = layer_types or {}
    producers = parents_of(model)
    fused = {
        parent.name
        for layer in model.layers
        if isinstance(layer, (keras.layers.ReLU, keras.layers.Activation))
        for parent in producers[layer.name]
    }

    def clone(layer: Any) -> Any:
        return _class_for(layer, types).from_config(layer.get_config())

    first = {
        name
        for name, parents in producers.items()
        if any(isinstance(parent, keras.layers.InputLayer) for parent in parents)
    }
    pixels = FakeQuant(*PIXEL_RANGE, fixed=True, name="pixel_range")

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in first:
            args = (pixels(args[0]), *args[1:])
        output = layer(*args, **kwargs)
        if _stores_activation(layer, fused):
            output = FakeQuant(0.0, 1.0, name=layer.name + RANGE_SUFFIX)(output)
        return output

    ranged = keras.models.clone_model(model, clone_function=clone, call_function=call)
    copy_weights(model, ranged)
    return ranged


def copy_weights(source: Any, target: Any) -> None:
    """Copies weights between layers of one name; range layers keep their own."""
    layers = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.name in layers and layer.weights and not isinstance(layer, FakeQuant):
            layer.set_weights(layers[layer.name].get_weights())


def with_input_scale(model: Any) -> Any:
    """The inverse of folding the 1/255: a Rescaling in front, the first kernels times 255.

    For fine-tuning a shipped network; a model that has its Rescaling comes back as it is, and so
    does one whose first layer has no kernel to take the factor.
    """
    if any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers):
        return model
    first = {
        name
        for name, parents in parents_of(model).items()
        if any(isinstance(parent, keras.layers.InputLayer) for parent in parents)
    }
    if not all(isinstance(model.get_layer(name), LINEAR_LAYERS) for name in first):
        return model
    scale = keras.layers.Rescaling(1.0 / 255.0, name="scale")

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in first:
            args = (scale(args[0]), *args[1:])
        return layer(*args, **kwargs)

    scaled = keras.models.clone_model(model, call_function=call)
    copy_weights(model, scaled)
    for name in first:
        kernel, *rest = scaled.get_layer(name).get_weights()
        scaled.get_layer(name).set_weights([kernel * 255.0, *rest])
    return scaled
