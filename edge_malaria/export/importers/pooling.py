"""Poolings, over windows and over the whole picture, and padding by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_malaria.export.importers.graph import Node, Untranslatable
from edge_malaria.export.importers.handlers import constant, handles, picture, required
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.value import Value
from edge_malaria.export.importers.weighted import padding_of, pads_of, zero_padded
from edge_malaria.keras_layers import keras


@handles("MaxPool", "AveragePool")
def _pool(net: Net, node: Node) -> Value:
    value = net.settle(picture(net.values[node.inputs[0]], node))
    size, strides = node.numbers("kernel_shape"), node.numbers("strides", (1, 1))
    if any(step != 1 for step in node.numbers("dilations", (1, 1))):
        raise Untranslatable(f"operation {node.op} ({node.name}) with dilations")
    window = (size[0], size[1])
    pads = _without_ceiling(node, value, window, strides, pads_of(node, value, window))
    padding = padding_of(pads, value, window, strides)
    counts_pads = node.op == "AveragePool" and node.number("count_include_pad", 0) == 1
    if padding != "valid" and (padding is None or counts_pads):
        if node.op == "AveragePool" and not counts_pads:
            raise Untranslatable(f"operation AveragePool ({node.name}) with pads {pads}")
        if node.op == "MaxPool" and value.least != 0.0:
            raise Untranslatable(
                f"operation MaxPool ({node.name}) with pads {pads} around values that may be "
                "below 0"
            )
        value, padding = zero_padded(net, node, value, pads), "valid"
    kinds = {"MaxPool": keras.layers.MaxPooling2D, "AveragePool": keras.layers.AveragePooling2D}
    layer = kinds[node.op](window, tuple(strides), padding, name=net.name_for(node, "pool"))
    behind = value.behind if value.untouched else None
    return value.like(layer(value.tensor), least=value.least, behind=behind)


def _without_ceiling(
    node: Node, value: Value, window: tuple[int, int], strides: list[int], pads: list[int]
) -> list[int]:
    """The pads, where ``ceil_mode`` adds an incomplete window as longer ones."""
    if not node.number("ceil_mode", 0):
        return pads
    longer = list(pads)
    for axis in (0, 1):
        free = value.shape[2 + axis] + pads[axis] + pads[axis + 2] - window[axis]
        longer[axis + 2] += -free % strides[axis]
    if longer != pads and node.op == "AveragePool":
        raise Untranslatable(f"operation AveragePool ({node.name}) with incomplete windows")
    return longer


@handles("GlobalAveragePool", "GlobalMaxPool")
def _global(net: Net, node: Node) -> Value:
    value = picture(net.values[node.inputs[0]], node)
    return _whole(net, node, value, node.op == "GlobalAveragePool", keep=True)


@handles("ReduceMean", "ReduceMax")
def _reduce(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    given = constant(net, node, 1)
    axes = node.numbers("axes") if given is None else [int(axis) for axis in given.reshape(-1)]
    over = {axis % value.rank for axis in axes}
    if value.rank != 4 or over != {value.order.index(1), value.order.index(2)}:
        raise Untranslatable(f"operation {node.op} ({node.name}) over other axes than a picture's")
    keep = bool(node.number("keepdims", 1))
    return _whole(net, node, value, node.op == "ReduceMean", keep=keep)


def _whole(net: Net, node: Node, value: Value, mean: bool, *, keep: bool) -> Value:
    # A mean of sums and products is the sum and product of the mean: they may wait.
    if value.linear is not None or not mean:
        net.settle(value)
    value.hand_back()
    kind: Any = keras.layers.GlobalAveragePooling2D if mean else keras.layers.GlobalMaxPooling2D
    tensor = kind(keepdims=keep, name=net.name_for(node, "pool"))(value.tensor)
    return value.like(tensor, order=value.order if keep else (0, 1), least=value.least)


@handles("Pad")
def _pad(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    given = node.attributes.get("pads")
    pads = [int(p) for p in (required(net, node, 1).reshape(-1) if given is None else given)]
    level = constant(net, node, 2)
    filled = 0.0 if level is None or not level.size else float(level.reshape(-1)[0])
    axes = [value.order.index(1), value.order.index(2)] if value.rank == 4 else []
    others = [p for place, p in enumerate(pads) if place % value.rank not in axes]
    if node.text("mode", "constant") != "constant" or filled != 0.0 or any(others) or not axes:
        raise Untranslatable(f"operation Pad ({node.name}) with anything but zeros at the border")
    if not any(pads):
        return value
    if (value.shift != 0.0).any():
        net.settle(value)
    ends = [pads[axis] for axis in axes] + [pads[axis + value.rank] for axis in axes]
    return zero_padded(net, node, value, ends)


@handles("Resize", "Upsample")
def _resize(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    sizes = constant(net, node, 3) if node.op == "Resize" else None
    if sizes is not None and sizes.size:
        wanted = [int(side) for side in sizes.reshape(-1)]
    else:
        scales = required(net, node, 2 if node.op == "Resize" else 1).reshape(-1)
        wanted = [int(np.floor(s * k)) for s, k in zip(value.shape, scales, strict=True)]
    if wanted[1:] == value.shape[1:]:
        return value
    raise Untranslatable(
        f"operation {node.op} ({node.name}) inside the network: resize cells before it (--resize)"
    )
