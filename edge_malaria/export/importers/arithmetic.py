"""Activations, sums and products, batch norms, and what joins or picks channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.export.importers.graph import Node, Untranslatable
from edge_malaria.export.importers.handlers import constant, handles, required
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.value import Array, Value, fresh
from edge_malaria.keras_layers import keras


@handles("Identity", "Dropout", "Cast", "DequantizeLinear", "DynamicQuantizeLinear")
def _same(net: Net, node: Node) -> Value:
    # Quantizing what is computed, and undoing it, is how a file with 8-bit weights says that its
    # kernels may round; the float network has no such step.
    return net.values[node.inputs[0]]


@handles("Transpose")
def _transpose(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    axes = node.numbers("perm", range(value.rank)[::-1])
    return value.like(
        value.tensor,
        order=tuple(value.order[axis] for axis in axes),
        linear=value.linear,
        least=value.least,
        behind=value.behind,
    )


@handles(
    "Relu",
    "Clip",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "HardSwish",
    "Softplus",
    "Mish",
)
def _activation(net: Net, node: Node) -> Value:
    value = net.settle(net.values[node.inputs[0]])
    layer, least = _activation_layer(net, node)
    homogeneous = node.op == "LeakyRelu" or (node.op == "Relu" and least == 0.0)
    behind = value.linear if homogeneous else None
    return value.like(layer(value.tensor), least=least, behind=behind)


def _activation_layer(net: Net, node: Node) -> tuple[Any, float | None]:
    layers, name = keras.layers, net.name_for(node, node.op.lower())
    if node.op == "Relu":
        return layers.ReLU(name=name), 0.0
    if node.op == "Clip":
        low, high = (constant(net, node, 1), constant(net, node, 2))
        bounds = (
            float(node.number("min", -np.inf) if low is None else low),
            float(node.number("max", np.inf) if high is None else high),
        )
        if bounds[0] != 0.0:
            raise Untranslatable(f"operation Clip ({node.name}) to {bounds}")
        limit = None if np.isinf(bounds[1]) else bounds[1]
        return layers.ReLU(max_value=limit, name=name), 0.0
    if node.op == "LeakyRelu":
        return layers.LeakyReLU(negative_slope=node.number("alpha", 0.01), name=name), None
    if node.op == "Elu":
        return layers.ELU(alpha=node.number("alpha", 1.0), name=name), None
    if node.op == "HardSigmoid" and abs(node.number("alpha", 0.2) - 1 / 6) > 1e-4:
        raise Untranslatable(f"operation HardSigmoid ({node.name}) of another slope than 1/6")
    words = {
        "Selu": "selu",
        "Sigmoid": "sigmoid",
        "Tanh": "tanh",
        "HardSigmoid": "hard_sigmoid",
        "HardSwish": "hard_swish",
        "Softplus": "softplus",
        "Mish": "mish",
    }
    least = 0.0 if node.op in ("Sigmoid", "HardSigmoid", "Softplus") else None
    return layers.Activation(words[node.op], name=name), least


def per_channel(value: Value, array: NDArray[Any], node: Node) -> Array:
    """A constant as one number a channel of ``value``.

    Raises:
        Untranslatable: it varies over the picture.
    """
    wide = np.asarray(array, np.float64)
    if wide.size == 1:
        return np.full(len(value.take), float(wide.reshape(-1)[0]))
    shape = (1,) * (value.rank - wide.ndim) + wide.shape
    if wide.ndim > value.rank or any(
        side != 1 for axis, side in enumerate(shape) if axis != value.channel_axis
    ):
        raise Untranslatable(f"operation {node.op} ({node.name}) with numbers that vary by place")
    return wide.reshape(-1)


@handles("Add", "Sub", "Mul", "Div")
def _arithmetic(net: Net, node: Node) -> Value:
    first, second = (net.values.get(name) for name in node.inputs)
    if first is not None and second is not None:
        return _joined(net, node, first, second)
    value = first if first is not None else second
    assert value is not None
    number = per_channel(value, required(net, node, 1 if first is not None else 0), node)
    factor, shift = value.factor, value.shift
    if node.op == "Add":
        shift = shift + number
    elif node.op == "Mul":
        factor, shift = factor * number, shift * number
    elif node.op == "Sub":
        sign = 1.0 if first is not None else -1.0
        factor, shift = sign * factor, sign * (shift - number)
    elif first is not None:
        factor, shift = factor / number, shift / number
    else:
        raise Untranslatable(f"operation Div ({node.name}) by a computed number")
    return value.like(
        value.tensor,
        factor=factor,
        shift=shift,
        linear=value.linear,
        least=value.least,
        behind=value.behind,
    )


@handles("Neg")
def _negative(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    return value.like(
        value.tensor,
        factor=-value.factor,
        shift=-value.shift,
        linear=value.linear,
        least=value.least,
    )


def _joined(net: Net, node: Node, first: Value, second: Value) -> Value:
    values = [net.settle(value) for value in (first, second)]
    if first.order != second.order:
        raise Untranslatable(f"operation {node.op} ({node.name}) on two layouts")
    if not np.array_equal(first.take, second.take):
        values = [net.settle(value, reorder=True) for value in values]
    kinds = {
        "Add": keras.layers.Add,
        "Mul": keras.layers.Multiply,
        "Sub": keras.layers.Subtract,
    }
    if node.op not in kinds:
        raise Untranslatable(f"operation {node.op} ({node.name}) of two computed tensors")
    layer = kinds[node.op](name=net.name_for(node, node.op.lower()))
    return values[0].like(layer([value.tensor for value in values]))


@handles("BatchNormalization")
def _batch_norm(net: Net, node: Node) -> Value:
    value = net.values[node.inputs[0]]
    gamma, beta, mean, variance = (
        np.asarray(required(net, node, place), np.float64) for place in (1, 2, 3, 4)
    )
    if value.channel_axis != 1:
        raise Untranslatable(f"operation BatchNormalization ({node.name}) over another axis")
    factor = gamma / np.sqrt(variance + node.number("epsilon", 1e-5))
    return value.like(
        value.tensor,
        factor=value.factor * factor,
        shift=(value.shift - mean) * factor + beta,
        linear=value.linear,
        least=value.least,
        behind=value.behind,
    )


@handles("Concat")
def _concat(net: Net, node: Node) -> Value:
    if any(name not in net.values for name in node.inputs):
        raise Untranslatable(f"operation Concat ({node.name}) with constants")
    values = [net.settle(net.values[name]) for name in node.inputs]
    axis = int(node.number("axis", 1)) % values[0].rank
    if any(value.order != values[0].order or value.channel_axis != axis for value in values):
        raise Untranslatable(f"operation Concat ({node.name}) over another axis than channels")
    layer = keras.layers.Concatenate(name=net.name_for(node, "concat"))
    tensor = layer([value.tensor for value in values])
    sizes = np.cumsum([0, *(int(value.tensor.shape[-1]) for value in values)])
    take = np.concatenate([value.take + start for value, start in zip(values, sizes, strict=False)])
    least = 0.0 if all(value.least == 0.0 for value in values) else None
    return (
        fresh(tensor, values[0].order, least=least)
        if np.array_equal(take, np.arange(len(take)))
        else Value(
            tensor, values[0].order, take, np.ones(len(take)), np.zeros(len(take)), least=least
        )
    )


@handles("Slice", "Gather")
def _channels(net: Net, node: Node) -> Value:
    """Only what picks or turns channels, as ``x[..., ::-1]`` does."""
    value = net.values[node.inputs[0]]
    axis, chosen = value.channel_axis, np.arange(len(value.take))
    if node.op == "Gather":
        same = int(node.number("axis", 0)) % value.rank == axis
        chosen = chosen[np.asarray(required(net, node, 1)).reshape(-1)]
    else:
        starts, ends, axes = (required(net, node, place).reshape(-1) for place in (1, 2, 3))
        steps = constant(net, node, 4)
        jumps = np.ones(len(axes), np.int64) if steps is None else steps.reshape(-1)
        same = True
        for start, end, over, step in zip(starts, ends, axes, jumps, strict=True):
            side = value.shape[int(over)]
            if int(over) % value.rank == axis:
                stop = None if end < -side else int(end)
                chosen = chosen[int(start) : stop : int(step)]
            else:
                same = same and start == 0 and step == 1 and end >= side
    if not same:
        raise Untranslatable(f"operation {node.op} ({node.name}) over another axis than channels")
    return value.like(
        value.tensor,
        take=value.take[chosen],
        factor=value.factor[chosen],
        shift=value.shift[chosen],
        least=value.least,
    )
