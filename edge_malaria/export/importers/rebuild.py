"""A foreign graph -> this project's form: a flat Keras network, pixels 0-255 in, one logit out.

Convolutions, dense layers, ReLUs and poolings stay; what scales or reorders channels is folded into
the weights beside it (``value``). So every tool that knows this project's own networks (fallback
recipes, pruning, firmware, parity) works on what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Each of these registers what it builds.
from edge_malaria.export.importers import arithmetic as arithmetic
from edge_malaria.export.importers import pooling as pooling
from edge_malaria.export.importers import reshaping as reshaping
from edge_malaria.export.importers import weighted as weighted
from edge_malaria.export.importers.graph import Graph, Node, Untranslatable, evaluate
from edge_malaria.export.importers.handlers import HANDLERS
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.value import Value
from edge_malaria.keras_layers import keras


@dataclass(frozen=True)
class Head:
    """How a graph ends.

    Attributes:
        activation: ``sigmoid``, ``softmax`` or ``none``.
        tensor: what goes into that activation.
        logarithms: whether it gives the probabilities' logarithms (PyTorch's ``log_softmax``).
    """

    activation: str
    tensor: str
    logarithms: bool = False


def run(net: Net, until: str) -> Value:
    """Builds all that the tensor ``until`` needs and returns it.

    Raises:
        Untranslatable: an operation that cannot be rebuilt.
    """
    needed = _needed(net.graph, until)
    for node in net.graph.nodes:
        if needed.isdisjoint(node.outputs) or until in net.values:
            continue
        step(net, node)
    if until not in net.values:
        raise Untranslatable("its output does not depend on its input")
    return net.values[until]


def step(net: Net, node: Node) -> None:
    """Builds one node: a value that depends on the picture, or a constant.

    Raises:
        Untranslatable: an operation that cannot be rebuilt.
    """
    if node.op == "Shape" and node.inputs[0] in net.values:
        net.constants[node.outputs[0]] = np.array(net.values[node.inputs[0]].shape, np.int64)
        return
    if not any(name in net.values for name in node.inputs):
        inputs = [net.constants[name] if name else None for name in node.inputs]
        for name, made in zip(node.outputs, evaluate(node, inputs, net.graph.opset), strict=True):
            net.constants[name] = made
        return
    handler = HANDLERS.get(node.op)
    if handler is None:
        why = ", augmentation that stays on: leave its Random layers out" * ("random_" in node.name)
        raise Untranslatable(f"operation {node.op} ({node.name or node.outputs[0]}){why}")
    value = handler(net, node)
    net.values[node.outputs[0]] = value
    if net.graph.readers[node.outputs[0]] > 1:
        net.settle(value)
        # Others read this tensor too: its layer must stay as it is from here on.
        value.linear = value.behind = None


def finish(net: Net, end: Value, positive: int, name: str) -> Any:
    """The network with one logit of "parasitized".

    Args:
        net: the network as far as it was rebuilt.
        end: the tensor before the last activation: one value, or one of each class.
        positive: which output (of two) or which value (0 or 1, of one) is parasitized.
        name: of the Keras model.
    """
    count = len(end.take)
    mix = np.array([[1.0 if positive == 1 else -1.0]])
    if count == 2:
        # log(p1 / p0) of a softmax is the difference of its two inputs.
        mix = np.array([[-1.0], [1.0]]) * (1.0 if positive == 1 else -1.0)
    net.settle(end)
    mix = mix[np.argsort(end.take)]
    dense = end.linear
    if dense is not None and type(dense.layer).__name__ == "Dense":
        kernel, bias = dense.kernel @ mix, dense.bias @ mix
        source, label = dense.source, str(dense.layer.name)
        net.linears.remove(dense)
    else:
        kernel, bias, source, label = mix, np.zeros(1), end.tensor, "logit"
    if len(source.shape) == 4:
        source = keras.layers.Flatten(name="flatten_logit")(source)
    layer = keras.layers.Dense(1, name=label)
    model = keras.Model(net.pixels, layer(source), name=name)
    net.linear(layer, source, kernel, bias)
    kept = {id(one) for one in model.layers}
    for made in net.linears:
        if id(made.layer) in kept:
            made.layer.set_weights([made.kernel.astype(np.float32), made.bias.astype(np.float32)])
    return model


def head_of(graph: Graph) -> Head:
    """How the graph ends, passing over what does not change values.

    Raises:
        Untranslatable: it ends in something that is neither a logit nor a probability.
    """
    name = graph.output
    while True:
        node = graph.maker(name)
        if node is None:
            raise Untranslatable("its output is not computed")
        if node.op in ("Identity", "Cast", "Dropout") or (
            node.op in ("Reshape", "Squeeze", "Flatten") and _before(graph, node)
        ):
            name = node.inputs[0]
            continue
        break
    if node.op == "Sigmoid":
        return Head("sigmoid", node.inputs[0])
    if node.op in ("Softmax", "LogSoftmax"):
        return Head("softmax", node.inputs[0], logarithms=node.op == "LogSoftmax")
    if node.op in ("Relu", "Tanh", "ArgMax", "Clip", "HardSigmoid", "TopK"):
        raise Untranslatable(f"it ends in {node.op}, which is neither a logit nor a probability")
    return Head("none", name)


def _before(graph: Graph, node: Node) -> bool:
    maker = graph.maker(node.inputs[0])
    return maker is not None and maker.op in ("Sigmoid", "Softmax", "LogSoftmax", "Identity")


def _needed(graph: Graph, until: str) -> set[str]:
    needed = {until}
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    return needed
