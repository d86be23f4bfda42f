"""The Keras network in the making: its tensors, its layers with weights, what is pending."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.export.importers.graph import Graph, Node
from edge_malaria.export.importers.scaling import Scaling
from edge_malaria.export.importers.value import Array, Linear, Value
from edge_malaria.keras_layers import keras

Constant = NDArray[Any]


class Net:
    """A graph as far as it is built.

    Attributes:
        values: ONNX tensor -> value, for what depends on the picture.
        constants: ONNX tensor -> array, for what does not.
        linears: layers with weights, which are set when all is known.
        pixels: the network's input, 0-255 RGB.
    """

    def __init__(self, graph: Graph, scaling: Scaling) -> None:
        self.graph = graph
        self.constants: dict[str, Constant] = dict(graph.constants)
        self.linears: list[Linear] = []
        self._names: set[str] = set()
        size = graph.size_px
        self.pixels = keras.Input((size, size, 3), name="pixels")
        order = (0, 3, 1, 2) if graph.channels_first else (0, 1, 2, 3)
        entry = Value(
            self.pixels,
            order,
            np.array(scaling.channels),
            np.asarray(scaling.factor, np.float64),
            np.asarray(scaling.shift, np.float64),
        )
        self.values: dict[str, Value] = {graph.input: entry}

    def name_for(self, node: Node, kind: str) -> str:
        """A layer's name: the author's where it can be told, and unique."""
        parts = [part for part in re.split(r"[/;]", node.name) if part and ":" not in part]
        stem = parts[-2] if len(parts) > 1 else kind
        stem = re.sub(r"[^A-Za-z0-9_]", "_", stem).strip("_") or kind
        if not stem[0].isalpha():
            stem = f"{kind}_{stem}"
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name

    def linear(self, layer: Any, source: Any, kernel: Array, bias: Array) -> Linear:
        """Adds a layer with weights; they are set when all is known."""
        made = Linear(layer, kernel, bias, source)
        self.linears.append(made)
        return made

    def settle(self, value: Value, *, reorder: bool = False) -> Value:
        """Builds what is pending, into the layer before where there is one; in place.

        Args:
            value: stays the same ONNX tensor.
            reorder: also bring the channels into ONNX's order.
        """
        if value.linear is None:
            value.hand_back()
        if not value.untouched:
            back = np.argsort(value.take)
            factor, shift = value.factor[back], value.shift[back]
            if value.linear is not None and len(value.take) == int(value.tensor.shape[-1]):
                value.linear.scale(factor, shift)
            else:
                value.tensor = self._affine(value.tensor, factor, shift)
                value.least = value.behind = None
            value.factor, value.shift = np.ones(len(back)), np.zeros(len(back))
        if reorder and not value.in_order:
            self._reorder(value)
        return value

    def _affine(self, tensor: Any, factor: Array, shift: Array) -> Any:
        """A product and a sum per channel as a layer, where no layer beside can take them."""
        count = len(factor)
        node = Node("Affine", "", (), ("",), {})
        if len(tensor.shape) == 4:
            layer = keras.layers.DepthwiseConv2D(1, name=self.name_for(node, "normalize"))
            made = layer(tensor)
            self.linear(layer, tensor, factor.reshape(1, 1, count, 1), shift)
            return made
        layer = keras.layers.Dense(count, name=self.name_for(node, "normalize"))
        made = layer(tensor)
        self.linear(layer, tensor, np.diag(factor), shift)
        return made

    def _reorder(self, value: Value) -> None:
        count = len(value.take)
        kernel = np.zeros((int(value.tensor.shape[-1]), count))
        kernel[value.take, np.arange(count)] = 1.0
        node = Node("Reorder", "", (), ("",), {})
        source = value.tensor
        if value.rank == 4:
            layer = keras.layers.Conv2D(count, 1, name=self.name_for(node, "reorder"))
            kernel = kernel[None, None]
        else:
            layer = keras.layers.Dense(count, name=self.name_for(node, "reorder"))
        value.tensor = layer(source)
        self.linear(layer, source, kernel, np.zeros(count))
        value.take = np.arange(count)
