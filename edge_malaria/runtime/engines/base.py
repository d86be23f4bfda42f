"""What every device engine offers, and the arithmetic between pixels and an engine's tensors."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.errors import BundleIntegrityError
from edge_malaria.records import Image, expect

ENGINES = ("litert", "onnx")


# Cells a call: one LiteRT tensor arena and one ONNX batch stay a few MB at this size.
BATCH = 64
# The same in pixels, for large inputs: 4 cells of 256 x 256. Sixty-four took 1.5 GB, and 9 still
# 180 MB in each of the eight engines that a gate opens.
_BATCH_PIXELS = BATCH * 64 * 64


class Engine(Protocol):
    """Runs one model file.

    Threads may share an engine: each gets the outputs of its own cells, as if it were alone.
    LiteRT and TensorFlow Lite Micro then run them one after the other, ONNX Runtime side by side.
    To use several cores, give an engine ``threads``, or open one engine a thread.

    Attributes:
        name: ``litert``, ``onnx`` or another engine's name.
        input, output: the file's own tensors, without the batch axis.
    """

    name: str
    input: TensorSpec
    output: TensorSpec

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """uint8 [N, H, W, 3] RGB -> the output as the file gives it, [N, ...] in its own dtype."""

    def run(self, batch: Image) -> NDArray[np.float32]:
        """uint8 [N, H, W, 3] RGB -> the output dequantized, float32 [N, ...]."""


def quantize_pixels(batch: Image, spec: TensorSpec) -> NDArray[Any]:
    """Pixels 0-255 as the input's dtype: pixel - 128 for int8 (scale 1, zero point -128)."""
    if spec.dtype == "float32":
        return batch.astype(np.float32)
    if spec.dtype == "uint8":
        return batch
    if spec.dtype == "int8" and spec.zero_point == -128 and abs(spec.scale - 1.0) < 1e-6:
        # Flipping the top bit is pixel - 128, without a wider type in between.
        return (batch ^ np.uint8(128)).view(np.int8)
    raise BundleIntegrityError(
        "int8 input: expected scale 1.0 and zero point -128 (pixel - 128), got "
        f"scale {spec.scale:g} and zero point {spec.zero_point}."
    )


def dequantize(raw: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """scale * (q - zero_point) as float32; float outputs as they are."""
    if spec.dtype == "float32":
        return raw.astype(np.float32, copy=False)
    shifted = raw.astype(np.int32) - np.int32(spec.zero_point)
    return (shifted * np.float32(spec.scale)).astype(np.float32)


def has_module(name: str) -> bool:
    """Whether the top-level package is installed; imports nothing."""
    return importlib.util.find_spec(name) is not None


def in_batches(
    batch: Image, spec: TensorSpec, invoke: Callable[[NDArray[Any]], NDArray[Any]], size: int
) -> NDArray[Any]:
    """Runs an engine on any number of cells, ``size`` at a time, or fewer large ones.

    Args:
        batch: uint8 [N, H, W, 3] RGB; N may be 0.
        spec: of the engine's input; an int8 input gets pixel - 128.
        invoke: one batch in the input's dtype -> the raw outputs [n, ...].
        size: most cells a call, at least 1.

    Returns:
        The raw outputs [N, ...] in the output's dtype.
    """
    expect(
        batch.ndim == 4 and batch.shape[3] == 3 and batch.dtype == np.uint8,
        "uint8 [N, H, W, 3]",
        (batch.shape, str(batch.dtype)),
    )
    if not len(batch):
        return invoke(quantize_pixels(np.zeros((1, *batch.shape[1:]), np.uint8), spec))[:0]
    step = max(1, min(size, _BATCH_PIXELS // (batch.shape[1] * batch.shape[2])))
    parts = [
        invoke(quantize_pixels(batch[start : start + step], spec))
        for start in range(0, len(batch), step)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
