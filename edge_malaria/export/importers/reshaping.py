"""Flatten, Reshape, Squeeze, Unsqueeze: only their orders are kept, little is built."""

from __future__ import annotations

import numpy as np

from edge_malaria.export.importers.graph import Node, Untranslatable
from edge_malaria.export.importers.handlers import constant, handles, required
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.value import Value
from edge_malaria.keras_layers import keras


@handles("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    old, new = value.shape, _target(net, node, value)
    if new == old:
        return value
    if len(new) == 2 and new[0] == 1:
        return flattened(net, node, value)
    if sum(side > 1 for side in new) <= 1 and sum(side > 1 for side in old) <= 1:
        return _lone_axis(net, node, value, new)
    raise Untranslatable(f"operation {node.op} ({node.name}) from {old} to {new}")


def _target(net: Net, node: Node, value: Value) -> list[int]:
    old = value.shape
    if node.op == "Flatten":
        axis = int(node.number("axis", 1)) % value.rank
        return [int(np.prod(old[:axis])), int(np.prod(old[axis:]))]
    if node.op == "Reshape":
        wanted = [int(side) for side in required(net, node, 1).reshape(-1)]
        wanted = [old[k] if side == 0 else side for k, side in enumerate(wanted)]
        if -1 in wanted:
            rest = int(np.prod([side for side in wanted if side != -1]))
            wanted[wanted.index(-1)] = int(np.prod(old)) // max(rest, 1)
        return wanted
    given = constant(net, node, 1)
    axes = node.numbers("axes") if given is None else [int(axis) for axis in given.reshape(-1)]
    if node.op == "Squeeze":
        gone = {axis % len(old) for axis in axes} or {k for k, side in enumerate(old) if side == 1}
        return [side for k, side in enumerate(old) if k not in gone]
    wanted = list(old)
    for axis in sorted(axis % (len(old) + len(axes)) for axis in axes):
        wanted.insert(axis, 1)
    return wanted


def flattened(net: Net, node: Node, value: Value) -> Value:
    """[1, n], in the order that ONNX flattens in, which becomes an order of the next kernel."""
    if value.rank == 2:
        return value
    if value.linear is not None:
        net.settle(value)
    value.hand_back()
    sides = [int(side) for side in value.tensor.shape[1:]]
    places = np.arange(int(np.prod(sides))).reshape(sides)[..., value.take]
    axes = [axis - 1 for axis in value.order if axis > 0]
    spread = np.broadcast_to(np.arange(len(value.take)), places.shape).transpose(axes).reshape(-1)
    tensor = keras.layers.Flatten(name=net.name_for(node, "flatten"))(value.tensor)
    return Value(
        tensor,
        (0, 1),
        places.transpose(axes).reshape(-1),
        value.factor[spread],
        value.shift[spread],
        least=value.least,
    )


def _lone_axis(net: Net, node: Node, value: Value, new: list[int]) -> Value:
    """[1, C], [1, C, 1, 1] and [1, 1, 1, C] into each other, or a single number to rank 1."""
    if value.rank == 4 and len(new) == 4:
        wide = max(range(4), key=lambda axis: (axis > 0, new[axis]))
        return _as_picture(value, value.tensor, wide, value.linear)
    if value.rank == 2 and len(new) == 4:
        channels = int(value.tensor.shape[-1])
        name = net.name_for(node, "reshape")
        if value.linear is not None:
            net.settle(value)
        tensor = keras.layers.Reshape((1, 1, channels), name=name)(value.tensor)
        wide = max(range(1, 4), key=lambda axis: new[axis])
        return _as_picture(value, tensor, wide, None)
    if int(np.prod(new)) == 1:
        return flattened(net, node, value)
    raise Untranslatable(f"operation {node.op} ({node.name}) to {new}")


def _as_picture(value: Value, tensor: object, wide: int, linear: object) -> Value:
    """The channels stand on ONNX's axis ``wide``."""
    others = iter((1, 2))
    order = (0, *(3 if axis == wide else next(others) for axis in (1, 2, 3)))
    made = value.like(tensor, order=order, least=value.least)
    made.linear = linear  # type: ignore[assignment]
    return made
