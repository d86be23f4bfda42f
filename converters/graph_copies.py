"""Keeps tf2onnx's copies of a graph small while it works.

tf2onnx copies the whole graph, weights and all, before each of its two dozen passes. The copies lie
in reference cycles, which Python collects late: ResNet50, 94 MB of weights, took 6.4 GB. Its passes
put another tensor in a constant's place and never write into one, so copies may share them.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

# glibc: blocks of this size and more are mapped by themselves and go back when they are freed. Left
# alone it raises the limit to 32 MB, and a network's weights stay behind in a heap full of holes.
_MAPPED_FROM_BYTES = 1 << 18
_M_MMAP_THRESHOLD = -3
# TensorFlow's own folding of constants takes nine copies of the weights. tf2onnx folds as well, and
# what it leaves is computed by whoever reads or runs the graph; large networks go without.
_FOLDED_UP_TO_BYTES = 50_000_000


@contextmanager
def freed() -> Iterator[None]:
    """While this is open, each pass of tf2onnx begins without the copies of those before it."""
    from tf2onnx import optimizer, tf_loader
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    optimize, copying = GraphOptimizerBase.optimize, optimizer.copy
    fold = tf_loader.tf_optimize

    def collected_first(self: Any, graph: Any, iteration: int) -> Any:
        gc.collect()
        return optimize(self, graph, iteration)

    def folded_if_small(inputs: Any, outputs: Any, graph: Any) -> Any:
        gc.collect()
        return graph if graph.ByteSize() > _FOLDED_UP_TO_BYTES else fold(inputs, outputs, graph)

    _map_large_blocks()
    # What was there before is not looked through again and again.
    gc.freeze()
    GraphOptimizerBase.optimize = collected_first
    optimizer.copy = SimpleNamespace(deepcopy=_with_shared_tensors)
    tf_loader.tf_optimize = folded_if_small
    try:
        yield
    finally:
        GraphOptimizerBase.optimize, optimizer.copy = optimize, copying
        tf_loader.tf_optimize = fold
        gc.unfreeze()
        gc.collect()


def _with_shared_tensors(value: Any) -> Any:
    """A deep copy; that of a graph shares the tensors of its constants."""
    if not hasattr(value, "get_nodes"):
        return copy.deepcopy(value)
    memo: dict[int, Any] = {}
    for node in value.get_nodes():
        if node.is_const():
            # Written anew from ``_attr`` after each pass.
            del node.op.attribute[:]
            memo.update((id(part), part) for part in node.attr.values())
    return copy.deepcopy(value, memo)


def _map_large_blocks() -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
