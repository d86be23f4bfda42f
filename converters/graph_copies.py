"""Frees tf2onnx's copies of a graph while it works.

tf2onnx copies the whole graph, weights and all, before each of its two dozen passes. The copies lie
in reference cycles, which Python collects late: ResNet50, 94 MB of weights, took 6.4 GB.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def freed() -> Iterator[None]:
    """While this is open, each pass of tf2onnx begins without the copies of those before it."""
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    optimize = GraphOptimizerBase.optimize

    def collected_first(self: Any, graph: Any, iteration: int) -> Any:
        gc.collect()
        return optimize(self, graph, iteration)

    # What was there before is not looked through again and again.
    gc.freeze()
    GraphOptimizerBase.optimize = collected_first
    try:
        yield
    finally:
        GraphOptimizerBase.optimize = optimize
        gc.unfreeze()
        gc.collect()
