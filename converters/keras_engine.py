"""Keras as an engine: the reference that the parity suite compares exported files with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.format import TensorSpec
from edge_malaria.records import Image


class KerasEngine:
    """Runs a Keras model on pixels, in batches.

    Args:
        model: input float32 [N, S, S, 3] of pixel values 0-255; output one logit.
    """

    name = "keras"

    def __init__(self, model: Any) -> None:
        self._model = model
        size = model.input_shape[1:]
        self.input = TensorSpec("pixels", tuple(int(side or 0) for side in size), "float32")
        self.output = TensorSpec(
            "logit", tuple(int(side or 0) for side in model.output_shape[1:]), "float32"
        )

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """uint8 [N, H, W, 3] RGB -> float32 [N, ...]."""
        parts = [
            np.asarray(self._model(batch[i : i + 256].astype(np.float32), training=False))
            for i in range(0, max(len(batch), 1), 256)
        ]
        return np.concatenate(parts)[: len(batch)]

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``run_raw``."""
        return self.run_raw(batch).astype(np.float32)
