"""The table of what is built for each ONNX operation, and what its entries share.

https://onnx.ai/onnx/operators/ gives each operation's inputs and attributes. A handler takes the
``Net`` and the node, and returns the value of the node's first output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from edge_malaria.export.importers.graph import Node, Untranslatable
from edge_malaria.export.importers.net import Net
from edge_malaria.export.importers.value import Value

Handler = Callable[[Net, Node], Value]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Decorator: registers a handler of these operations."""

    def add(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return add


def constant(net: Net, node: Node, place: int) -> NDArray[Any] | None:
    """The constant at an input; None where it is left out.

    Raises:
        Untranslatable: it depends on the picture.
    """
    if place >= len(node.inputs) or not node.inputs[place]:
        return None
    name = node.inputs[place]
    if name not in net.constants:
        raise Untranslatable(f"operation {node.op} ({node.name}) with a computed parameter")
    return net.constants[name]


def required(net: Net, node: Node, place: int) -> NDArray[Any]:
    """The constant at an input that must be there."""
    found = constant(net, node, place)
    if found is None:
        raise Untranslatable(f"operation {node.op} ({node.name}) without its parameter {place}")
    return found


def picture(value: Value, node: Node) -> Value:
    """``value``, asserted to be channels first as ONNX sees it."""
    if value.order != (0, 3, 1, 2):
        raise Untranslatable(f"operation {node.op} ({node.name}) over other axes than a picture's")
    return value
