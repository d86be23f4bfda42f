"""Networks that can be trained: ``build(name, input_size=None) -> keras.Model``.

Every model takes float32 [N, S, S, 3] of pixel values 0-255 (RGB), scales by 1/255 inside and
ends in one logit [N, 1]. Other modules add theirs with ``register``; those in ``FAMILIES`` are
imported when a name is first looked up.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import keras


@dataclass(frozen=True)
class Architecture:
    """A way to build a network.

    Attributes:
        name: what ``--arch`` takes.
        input_size_px: the default input side.
        make: called with the input side; returns a ``keras.Model``.
        summary: one line.
    """

    name: str
    input_size_px: int
    make: Callable[[int], Any]
    summary: str


_REGISTRY: dict[str, Architecture] = {}
# Modules beside this one that register more; looked into only when somebody asks for a name.
FAMILIES = ("literature", "literature_deep")
# Of the moving averages of batch norms: keras's 0.99 needs more steps than a small set gives.
BN_MOMENTUM = 0.9


def register(name: str, input_size_px: int, summary: str) -> Callable[..., Callable[[int], Any]]:
    """Decorator: adds a builder under ``name``; a name taken already is a ValueError."""

    def add(make: Callable[[int], Any]) -> Callable[[int], Any]:
        if name in _REGISTRY:
            raise ValueError(f"expected a new architecture name, got {name!r} again")
        _REGISTRY[name] = Architecture(name, input_size_px, make, summary)
        return make

    return add


def _load_families() -> None:
    for family in FAMILIES:
        importlib.import_module(f"edge_malaria.training.architectures.{family}")


def architectures() -> tuple[Architecture, ...]:
    """All registered ones, by name."""
    _load_families()
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def architecture(name: str) -> Architecture:
    """The one called ``name``.

    Raises:
        UsageError: unknown.
    """
    _load_families()
    if name not in _REGISTRY:
        raise UsageError(f"unknown architecture {name!r}: expected one of {sorted(_REGISTRY)}.")
    return _REGISTRY[name]


def build(name: str, input_size: int | None = None) -> Any:
    """A fresh network with random weights.

    Args:
        name: a registered architecture.
        input_size: input side in px; None for the architecture's own.

    Returns:
        ``keras.Model``: float32 [N, S, S, 3] in 0-255 -> one logit [N, 1].

    Raises:
        UsageError: unknown name.
    """
    chosen = architecture(name)
    return chosen.make(input_size or chosen.input_size_px)


def _normalized(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def conv_unit(x: Any, filters: int, name: str, kernel: int = 3, stride: int = 1) -> Any:
    """Convolution without bias, batch norm, ReLU; float32 [N, H, W, C] -> [N, H', W', filters]."""
    conv = keras.layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )
    return _normalized(conv(x), name)


def separable_unit(x: Any, filters: int, name: str, stride: int = 1, kernel: int = 3) -> Any:
    """Depthwise then pointwise convolution, each with batch norm and ReLU."""
    depthwise = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_dw_conv"
    )
    x = _normalized(depthwise(x), f"{name}_dw")
    return conv_unit(x, filters, f"{name}_pw", kernel=1)


def separable_network(
    name: str, size: int, stem: int, blocks: Sequence[tuple[int, int]], kernel: int = 3
) -> Any:
    """A stem of stride 2, separable blocks (filters, stride), global average, one logit.

    Plain ReLU everywhere: hard-swish and ReLU6 cost int8 precision or time on microcontrollers.
    """
    inputs = keras.Input((size, size, 3), name="cell")
    x = keras.layers.Rescaling(1.0 / 255.0, name="scale")(inputs)
    x = conv_unit(x, stem, "stem", stride=2)
    for index, (filters, stride) in enumerate(blocks, start=1):
        x = separable_unit(x, filters, f"block{index}", stride, kernel)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(1, name="logit")(x)
    return keras.Model(inputs, outputs, name=name)


# The widths keep the int8 file under 40 KB (about 28 bytes of scales a channel come on top of the
# weights) and the two largest neighbouring activations, 24 x 24, under 33 KB together.
COMPACT_BLOCKS = ((32, 1), (48, 2), (64, 1), (96, 2), (96, 1))
MICRO_BLOCKS = ((16, 1), (32, 2), (48, 2), (64, 1))


@register("compact", 48, "depthwise-separable, the default: 2 M MACs, int8 file under 40 KB")
def compact(size: int) -> Any:
    """The default network."""
    return separable_network("compact", size, 16, COMPACT_BLOCKS)


@register("micro", 48, "depthwise-separable for microcontrollers: under 16 KB of weights")
def micro(size: int) -> Any:
    """The microcontroller network."""
    return separable_network("micro", size, 8, MICRO_BLOCKS)


@register("compact-wide", 48, "compact with twice the filters: a teacher")
def compact_wide(size: int) -> Any:
    """A teacher of the default network."""
    blocks = tuple((2 * filters, stride) for filters, stride in COMPACT_BLOCKS)
    return separable_network("compact_wide", size, 32, blocks)


COUNTED_LAYERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def count_macs(model: Any) -> int:
    """Multiply-accumulates of one inference: convolutions and dense layers."""
    return sum(layer_macs(layer) for layer in model.layers)


def layer_macs(layer: Any) -> int:
    """Multiply-accumulates of one layer; 0 for any but convolutions and dense layers."""
    if not isinstance(layer, (*COUNTED_LAYERS, keras.layers.SeparableConv2D)):
        return 0
    shape = layer.output.shape
    positions = 1
    for side in shape[1:-1]:
        positions *= int(side)
    return positions * _kernel_macs(layer, int(shape[-1]))


def _kernel_macs(layer: Any, channels: int) -> int:
    if isinstance(layer, keras.layers.SeparableConv2D):
        height, width, depth, multiplier = (int(side) for side in layer.depthwise_kernel.shape)
        return depth * multiplier * (height * width + channels)
    kernel = layer.kernel.shape
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return int(kernel[0]) * int(kernel[1]) * channels
    product = 1
    for side in kernel:
        product *= int(side)
    return product
