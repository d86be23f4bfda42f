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
# TensorFlow folds constants with nine copies of the weights, and its frozen function and the
# graphs made of that five more. tf2onnx folds as well, and what it leaves is computed by whoever
# reads or runs the graph; large networks go without: their variables become constants, no more.
_FOLDED_UP_TO_BYTES = 50_000_000


@contextmanager
def freed() -> Iterator[None]:
    """While this is open, each pass of tf2onnx begins without the copies of those before it."""
    from tf2onnx import optimizer, tf_loader
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    optimize, copying = GraphOptimizerBase.optimize, optimizer.copy
    freeze = tf_loader.from_function

    def collected_first(self: Any, graph: Any, iteration: int) -> Any:
        gc.collect()
        return optimize(self, graph, iteration)

    def folded_if_small(function: Any, *names: Any, **how: Any) -> Any:
        gc.collect()
        if _weights_bytes(function) <= _FOLDED_UP_TO_BYTES:
            return freeze(function, *names, **how)
        plain = tf_loader.convert_variables_to_constants_large_model(function)
        return tf_loader.fix_freezing_errors_part2(plain)

    _map_large_blocks()
    # What was there before is not looked through again and again; what the caller froze stays so.
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    GraphOptimizerBase.optimize = collected_first
    optimizer.copy = SimpleNamespace(deepcopy=_with_shared_tensors)
    tf_loader.from_function = folded_if_small
    try:
        yield
    finally:
        GraphOptimizerBase.optimize, optimizer.copy = optimize, copying
        tf_loader.from_function = freeze
        if ours:
            gc.unfreeze()
        gc.collect()


def _weights_bytes(function: Any) -> int:
    """Of the variables that a TensorFlow function reads."""
    return sum(int(v.shape.num_elements()) * int(v.dtype.size) for v in function.graph.variables)


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
