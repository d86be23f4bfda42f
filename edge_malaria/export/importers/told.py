"""What a graph tells about its input: its own scaling, where it has one."""

from __future__ import annotations

import numpy as np

from edge_malaria.export.importers.graph import Graph, Untranslatable
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.rebuild import step
from edge_malaria.export.importers.scaling import Scaling
from edge_malaria.export.importers.value import Value

_AFFINE = {"Mul", "Add", "Sub", "Div", "BatchNormalization", "Transpose", "Identity", "Cast"}
_TURNING = {"Slice", "Gather"}
# Pixels 0-255 scaled by such a factor span at most so many units; scaled from 0-1 data they would
# span hundreds.
_WIDEST = 20.0
# Means of ImageNet's colours, less which "caffe" networks take their pixels.
_CAFFE_SHIFT = (-135.0, -90.0)


def told_by_graph(graph: Graph) -> dict[str, str]:
    """``input_range`` where the graph scales pixels itself; ``colour`` where it turns them."""
    net = Net(graph, Scaling((0, 1, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    name, value = graph.input, net.values[graph.input]
    while True:
        readers = [node for node in graph.nodes if name in node.inputs]
        if len(readers) != 1 or readers[0].op not in _AFFINE | _TURNING:
            break
        try:
            # What stands beside the picture may have to be computed first.
            for node in graph.nodes:
                if node is readers[0]:
                    break
                if not any(i in net.values for i in node.inputs) and node.op != "Shape":
                    step(net, node)
            step(net, readers[0])
        except (Untranslatable, KeyError):
            break
        name = readers[0].outputs[0]
        value = net.values[name]
    return _read(value)


def _read(value: Value) -> dict[str, str]:
    told = {}
    factor, shift = np.abs(value.factor), value.shift
    caffe = (factor == 1.0).all() and (shift > _CAFFE_SHIFT[0]).all()
    caffe = bool(caffe and (shift < _CAFFE_SHIFT[1]).all())
    scaled = bool((factor != 1.0).any() and (factor * 255.0 <= _WIDEST).all())
    if caffe or scaled:
        told["input_range"] = "0-255"
    if caffe and value.take.tolist() == [2, 1, 0]:
        # preprocess_input turns RGB into the BGR that these networks were trained with.
        told["colour"] = "rgb"
    return told
