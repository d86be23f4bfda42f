"""Keras as an engine: the reference that the parity suite compares exported files with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.records import Image

# Cells at a time, as pixels: 256 of 64 x 64.
PIXELS_AT_ONCE = 256 * 64 * 64
_MOST_CELLS = 256
# Keras keeps what each layer gives until the last has run. 400 MB of float32 leave this project's
# own networks at 256 cells; a 224-px ResNet50 took 2 GB at 20.
_VALUES_AT_ONCE = 100_000_000


def _cells_at_once(model: Any, cells: NDArray[Any]) -> int:
    pixels = int(np.prod(cells.shape[1:3]))
    outputs = (layer.output for layer in model.layers)
    values = sum(_values(out.shape, cells) for out in outputs if hasattr(out, "shape"))
    return max(1, min(_MOST_CELLS, PIXELS_AT_ONCE // pixels, _VALUES_AT_ONCE // max(values, 1)))


def _values(shape: Sequence[int | None], cells: NDArray[Any]) -> int:
    """Values that a layer gives for one cell; an open side counts as long as the input's."""
    open_sides = max(cells.shape[1:3])
    return int(np.prod([open_sides if side is None else side for side in shape[1:]]))


def run_in_batches(model: Any, cells: NDArray[Any]) -> NDArray[Any]:
    """A Keras model on pixels [N, S, S, 3], so many cells at a time as memory allows."""
    step = _cells_at_once(model, cells)
    parts = [
        np.asarray(model(cells[start : start + step].astype(np.float32), training=False))
        for start in range(0, max(len(cells), 1), step)
    ]
    return np.concatenate(parts)[: len(cells)]


class KerasEngine:
    """Runs a Keras model on pixels, in batches.

    Args:
        model: input float32 [N, S, S, 3] of pixel values 0-255; output one logit.
        remember: keep what it gave for each batch, so that a gate which runs again on the same
            cells after each fallback recipe runs Keras once.
    """

    name = "keras"

    def __init__(self, model: Any, *, remember: bool = False) -> None:
        self._model = model
        self._remembered: dict[tuple[Any, ...], NDArray[Any]] | None = {} if remember else None
        size = model.input_shape[1:]
        self.input = TensorSpec("pixels", tuple(int(side or 0) for side in size), "float32")
        self.output = TensorSpec(
            "logit", tuple(int(side or 0) for side in model.output_shape[1:]), "float32"
        )

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """uint8 [N, H, W, 3] RGB -> float32 [N, ...]."""
        if self._remembered is None:
            return run_in_batches(self._model, batch)
        pixels = np.ascontiguousarray(batch)
        key = (pixels.shape, pixels.dtype.str, hashlib.sha256(pixels.data).digest())
        if key not in self._remembered:
            self._remembered[key] = run_in_batches(self._model, pixels)
        return self._remembered[key].copy()

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``run_raw``."""
        return self.run_raw(batch).astype(np.float32)
