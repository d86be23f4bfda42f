"""Keras as an engine: the reference that the parity suite compares exported files with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec

Call = Callable[[NDArray[Any]], Any]
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


def run_in_batches(model: Any, cells: NDArray[Any], call: Call | None = None) -> NDArray[Any]:
    """A Keras model on pixels [N, S, S, 3], so many cells at a time as memory allows.

    ``call``: what runs a batch; None calls the model layer by layer.
    """
    ask = call or (lambda batch: model(batch, training=False))
    parts = [np.asarray(ask(part.astype(np.float32))) for part in in_batches(model, cells)]
    return np.concatenate(parts)[: len(cells)]


def in_batches(model: Any, cells: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cells [N, S, S, 3], so many at a time as memory allows; one empty batch of none."""
    step = _cells_at_once(model, cells)
    for start in range(0, max(len(cells), 1), step):
        yield cells[start : start + step]


def compiled(model: Any, size_px: int) -> Call:
    """The model as one graph of TensorFlow: for a large network half the time of its layers."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, size_px, size_px, 3), tf.float32)]
    call: Call = tf.function(lambda x: model(x, training=False), input_signature=signature)
    return call


class KerasEngine:
    """Runs a Keras model on pixels, in batches; a large one compiled.

    Args:
        model: input float32 [N, S, S, 3] of pixel values 0-255; output one logit.
        remember: keep what it gave for each cell, so that the steps of an export, and a gate which
            runs again after each fallback recipe, ask Keras about a cell once.
    """

    name = "keras"

    def __init__(self, model: Any, *, remember: bool = False) -> None:
        self._model = model
        self._call: Call | None = None
        self._remembered: dict[bytes, NDArray[Any]] | None = {} if remember else None
        size = model.input_shape[1:]
        self.input = TensorSpec("pixels", tuple(int(side or 0) for side in size), "float32")
        self.output = TensorSpec(
            "logit", tuple(int(side or 0) for side in model.output_shape[1:]), "float32"
        )

    def run_raw(self, batch: NDArray[Any]) -> NDArray[Any]:
        """uint8 (or float32 pixel values) [N, H, W, 3] RGB -> float32 [N, ...]."""
        if self._remembered is None or not len(batch):
            return self._asked(batch)
        kind = batch.dtype.str.encode()
        keys = [hashlib.sha256(kind + np.ascontiguousarray(cell).data).digest() for cell in batch]
        new = {key: row for row, key in enumerate(keys) if key not in self._remembered}
        if new:
            answers = self._asked(batch[list(new.values())])
            self._remembered.update(zip(new, answers, strict=True))
        return np.stack([self._remembered[key] for key in keys])

    def _asked(self, batch: NDArray[Any]) -> NDArray[Any]:
        side = self.input.shape[0]
        if self._call is None and side and _cells_at_once(self._model, batch) < _MOST_CELLS:
            self._call = compiled(self._model, side)
        return run_in_batches(self._model, batch, self._call)

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """See ``run_raw``."""
        return self.run_raw(batch).astype(np.float32)
