"""Keras as an engine: the reference that the parity suite compares exported files with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.records import Image

# Cells at a time, as pixels: 256 of 64 x 64. A 224-px MobileNetV2 keeps about 1 GB of activations
# at such a batch, and 20 GB at 256 cells.
PIXELS_AT_ONCE = 256 * 64 * 64
_MOST_CELLS = 256


def run_in_batches(model: Any, cells: NDArray[Any]) -> NDArray[Any]:
    """A Keras model on pixels [N, S, S, 3], so many cells at a time as memory allows."""
    step = max(1, min(_MOST_CELLS, PIXELS_AT_ONCE // int(np.prod(cells.shape[1:3]))))
    parts = [
        np.asarray(model(cells[start : start + step].astype(np.float32), training=False))
        for start in range(0, max(len(cells), 1), step)
    ]
    return np.concatenate(parts)[: len(cells)]


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
        return run_in_batches(self._model, batch)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``run_raw``."""
        return self.run_raw(batch).astype(np.float32)
