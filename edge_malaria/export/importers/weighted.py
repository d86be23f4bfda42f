"""Convolutions and dense layers: where what is pending before them ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.export.importers.graph import Node, Untranslatable
from edge_malaria.export.importers.handlers import constant, handles, picture, required
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.value import Array, Value, fresh
from edge_malaria.keras_layers import keras

_ORDER = (0, 3, 1, 2)


def pads_of(node: Node, value: Value, kernel: tuple[int, int], dilation: int = 1) -> list[int]:
    """[top, left, bottom, right] px of an operation that slides over a picture."""
    strides = node.numbers("strides", (1, 1))
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        return node.numbers("pads", (0, 0, 0, 0))
    totals = []
    for side, size, stride in zip(value.shape[2:], kernel, strides, strict=True):
        reach = (size - 1) * dilation + 1
        totals.append(max((-(-side // stride) - 1) * stride + reach - side, 0))
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return small + large if mode == "SAME_UPPER" else large + small


def padding_of(
    pads: list[int], value: Value, kernel: tuple[int, int], strides: list[int], dilation: int = 1
) -> str | None:
    """Keras's word for these pads; None where it has none and a layer must pad."""
    if not any(pads):
        return "valid"
    for axis in (0, 1):
        side, reach = value.shape[2 + axis], (kernel[axis] - 1) * dilation + 1
        total = max((-(-side // strides[axis]) - 1) * strides[axis] + reach - side, 0)
        if (pads[axis], pads[axis + 2]) != (total // 2, total - total // 2):
            return None
    return "same"


def zero_padded(net: Net, node: Node, value: Value, pads: list[int]) -> Value:
    """``value`` with black rows and columns around it."""
    name = net.name_for(Node("Pad", "", (), ("",), {}), "pad")
    rows, columns = (pads[0], pads[2]), (pads[1], pads[3])
    layer = keras.layers.ZeroPadding2D((rows, columns), name=name)
    return value.like(layer(value.tensor), least=value.least)


@handles("Conv")
def _conv(net: Net, node: Node) -> Value:
    value = picture(net.values[node.inputs[0]], node)
    weights = np.asarray(required(net, node, 1), np.float64)
    bias = constant(net, node, 2)
    offsets = np.zeros(len(weights)) if bias is None else np.asarray(bias, np.float64)
    if weights.ndim != 4:
        raise Untranslatable(f"operation Conv ({node.name}) in {weights.ndim - 2} dimensions")
    dilations, strides = node.numbers("dilations", (1, 1)), node.numbers("strides", (1, 1))
    if dilations[0] != dilations[1]:
        raise Untranslatable(f"operation Conv ({node.name}) with dilations {dilations}")
    size = (int(weights.shape[2]), int(weights.shape[3]))
    pads = pads_of(node, value, size, dilations[0])
    if value.linear is not None or (any(pads) and (value.shift != 0.0).any()):
        # Around the picture the author's network sees 0; that is no pixel value once there is a
        # shift, so the shift must come before the padding.
        net.settle(value)
    value.hand_back()
    padding = padding_of(pads, value, size, strides, dilations[0])
    if padding is None:
        value, padding = zero_padded(net, node, value, pads), "valid"
    how = {
        "kernel_size": size,
        "padding": padding,
        "strides": (strides[0], strides[1]),
        "dilation_rate": dilations[0],
        "name": net.name_for(node, "conv"),
    }
    groups = int(node.number("group", 1))
    if groups == 1:
        return _full(net, value, weights, offsets, how)
    if groups == len(value.take) and weights.shape[1] == 1:
        return _depthwise(net, value, weights, offsets, how)
    raise Untranslatable(f"operation Conv ({node.name}) in {groups} groups")


def _full(net: Net, value: Value, weights: Array, bias: Array, how: dict[str, Any]) -> Value:
    kernel = weights.transpose(2, 3, 1, 0)
    bias = bias + np.einsum("hwio,i->o", kernel, value.shift)
    kernel = kernel * value.factor[None, None, :, None]
    own = np.zeros((*kernel.shape[:2], int(value.tensor.shape[-1]), kernel.shape[3]))
    for place, channel in enumerate(value.take):
        own[:, :, channel] += kernel[:, :, place]
    layer = keras.layers.Conv2D(kernel.shape[3], **how)
    tensor = layer(value.tensor)
    return fresh(tensor, _ORDER, linear=net.linear(layer, value.tensor, own, bias))


def _depthwise(net: Net, value: Value, weights: Array, bias: Array, how: dict[str, Any]) -> Value:
    channels = len(value.take)
    if len(set(value.take.tolist())) != int(value.tensor.shape[-1]):
        raise Untranslatable("a depthwise convolution over repeated channels")
    each = len(weights) // channels
    # [channels * each, 1, h, w] -> [h, w, channels, each]
    kernel = weights[:, 0].reshape(channels, each, *weights.shape[2:]).transpose(2, 3, 0, 1)
    bias = bias + (kernel.sum(axis=(0, 1)) * value.shift[:, None]).reshape(-1)
    kernel = kernel * value.factor[None, None, :, None]
    back = np.argsort(value.take)
    layer = keras.layers.DepthwiseConv2D(
        **{**how, "depth_multiplier": each}  # outputs run channel by channel, as ONNX's do
    )
    tensor = layer(value.tensor)
    own_bias = bias.reshape(channels, each)[back].reshape(-1)
    linear = net.linear(layer, value.tensor, kernel[:, :, back], own_bias)
    made = fresh(tensor, _ORDER, linear=linear)
    made.take = (value.take[:, None] * each + np.arange(each)).reshape(-1)
    return made


@handles("Gemm", "MatMul")
def _dense(net: Net, node: Node) -> Value:
    value = net.values.get(node.inputs[0])
    if value is None:
        raise Untranslatable(f"operation {node.op} ({node.name}) with a computed kernel")
    kernel = np.asarray(required(net, node, 1), np.float64)
    bias: Array | None = None
    if node.op == "Gemm":
        if node.number("transA", 0) or (node.number("transB", 0) and kernel.ndim != 2):
            raise Untranslatable(f"operation Gemm ({node.name}) of a turned input")
        kernel = kernel.T if node.number("transB", 0) else kernel
        kernel = kernel * node.number("alpha", 1.0)
        given = constant(net, node, 2)
        if given is not None:
            wide = np.asarray(given, np.float64) * node.number("beta", 1.0)
            bias = np.broadcast_to(wide.reshape(-1), (kernel.shape[1],)).copy()
    if kernel.ndim != 2 or value.channel_axis != value.rank - 1:
        raise Untranslatable(f"operation {node.op} ({node.name}) over another axis than channels")
    offsets = np.zeros(kernel.shape[1]) if bias is None else bias
    if value.linear is not None:
        net.settle(value)
    return _dense_layer(net, node, value, kernel, offsets)


def _dense_layer(net: Net, node: Node, value: Value, kernel: NDArray[Any], bias: Array) -> Value:
    bias = bias + value.shift @ kernel
    kernel = kernel * value.factor[:, None]
    own = np.zeros((int(value.tensor.shape[-1]), kernel.shape[1]))
    np.add.at(own, value.take, kernel)
    name, units = net.name_for(node, "dense"), kernel.shape[1]
    if value.rank == 4:
        layer, own = keras.layers.Conv2D(units, 1, name=name), own[None, None]
    else:
        layer = keras.layers.Dense(units, name=name)
    tensor = layer(value.tensor)
    return fresh(tensor, value.order, linear=net.linear(layer, value.tensor, own, bias))
