"""An engine that a Python function computes: for tests and dry runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import dequantize


class FakeEngine:
    """An engine for tests and dry runs: computes the logits with a Python function.

    Args:
        logits: uint8 [N, S, S, 3] -> float32 [N].
        size_px: S.
    """

    name = "fake"

    def __init__(self, logits: Callable[[Image], NDArray[np.float32]], size_px: int = 48) -> None:
        self._logits = logits
        self.input = TensorSpec("pixels", (size_px, size_px, 3), "float32")
        self.output = TensorSpec("logit", (1,), "float32")

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        return np.asarray(self._logits(batch), np.float32).reshape(len(batch), 1)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return dequantize(self.run_raw(batch), self.output)
