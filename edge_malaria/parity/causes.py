"""Names what most likely happened where outputs or network inputs are not what they should be.

Nothing here decides whether something failed; it only explains a failure that stands already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import GoldenOutputs, mistake_rows
from edge_malaria.parity.numeric import Outputs
from edge_malaria.prepare.area_resize import area_resize
from edge_malaria.prepare.preprocess import CONTRACT_STEPS
from edge_malaria.prepare.stain import STEP
from edge_malaria.records import Image, Mask

# An explanation must leave at most this share of the error it explains.
_EXPLAINED = 0.25


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def output_cause(candidate: Outputs, keras: GoldenOutputs) -> str:
    """Why a model's logits on the golden cells are not Keras's; empty where it cannot be told.

    Args:
        candidate: on all golden cells.
        keras: Keras's stored outputs, on the same cells.
    """
    got = candidate.logits.astype(np.float64)
    expected = keras.raw.astype(np.float64)
    if got.shape != expected.shape:
        return ""  # the goldens themselves are at fault, and said to be
    if not np.isfinite(got).all():
        return "a NaN or infinite weight or scale in the file, or weights lost in conversion"
    error = _rms(got - expected)
    if error == 0.0:
        return ""
    named = _known_mistake(got, expected, keras)
    if named:
        return named
    if not float(np.std(got)) > 0.01 * float(np.std(expected)):
        return (
            "the output does not depend on the cell: weights lost or zeroed, or the input scaled "
            "away"
        )
    return _linear_cause(candidate, got, expected)


def _known_mistake(
    got: NDArray[np.float64], expected: NDArray[np.float64], keras: GoldenOutputs
) -> str:
    rows = mistake_rows(len(got))
    best, name = math.inf, ""
    for mistake, logits in (keras.mistakes or {}).items():
        if logits.shape != got[rows].shape:
            continue
        miss = _rms(got[rows] - logits.astype(np.float64))
        if miss < best:
            best, name = miss, mistake
    return name if best < _EXPLAINED * _rms(got[rows] - expected[rows]) else ""


def _linear_cause(
    candidate: Outputs, got: NDArray[np.float64], expected: NDArray[np.float64]
) -> str:
    inside = np.ones(len(got), bool)
    if candidate.raw.dtype.kind in "iu":
        ends = np.iinfo(candidate.raw.dtype)
        inside = (candidate.raw > ends.min) & (candidate.raw < ends.max)
    if np.count_nonzero(inside) < 16 or not np.std(expected[inside]) > 0:
        return "the output is saturated: wrong scale"
    slope, offset = (float(v) for v in np.polyfit(expected[inside], got[inside], 1))
    left = _rms(got[inside] - slope * expected[inside] - offset)
    # The error of an honest file is noise, which no straight line explains.
    if not left < _EXPLAINED * _rms(got[inside] - expected[inside]):
        return ""
    if slope < -0.5:
        return f"labels swapped: the logit is {slope:.2f} times Keras's"
    steps = f" ({offset / candidate.step:+.0f} output steps)" if candidate.step else ""
    if abs(slope - 1.0) < 0.03:
        return f"wrong zero point or bias: every logit is shifted by {offset:+.3g}{steps}"
    return f"wrong scale: the logit is {slope:.3g} times Keras's, shifted by {offset:+.3g}"


def _resized(interpolation: int) -> Callable[[Image, Mask, int], Image]:
    def prepare(crop: Image, mask: Mask, size_px: int) -> Image:
        masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
        resized = cv2.resize(masked, (size_px, size_px), interpolation=interpolation)
        return np.asarray(resized, np.uint8)

    return prepare


def _area(crop: Image, mask: Mask, size_px: int) -> Image:
    return area_resize(np.where(mask[:, :, None], crop, 0).astype(np.uint8), size_px)


def _central_crop(crop: Image, mask: Mask, size_px: int) -> Image:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    height, width = masked.shape[:2]
    out = np.zeros((size_px, size_px, 3), np.uint8)
    rows, columns = min(height, size_px), min(width, size_px)
    top, left = (height - rows) // 2, (width - columns) // 2
    to, to_left = (size_px - rows) // 2, (size_px - columns) // 2
    part = masked[top : top + rows, left : left + columns]
    out[to : to + rows, to_left : to_left + columns] = part
    return out


def _top_left_crop(crop: Image, mask: Mask, size_px: int) -> Image:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    out = np.zeros((size_px, size_px, 3), np.uint8)
    part = masked[:size_px, :size_px]
    out[: part.shape[0], : part.shape[1]] = part
    return out


def _unmasked(crop: Image, mask: Mask, size_px: int) -> Image:
    return _area(crop, np.ones_like(mask), size_px)


def _mask_inverted(crop: Image, mask: Mask, size_px: int) -> Image:
    return _area(crop, ~mask, size_px)


def _bgr(crop: Image, mask: Mask, size_px: int) -> Image:
    return np.ascontiguousarray(_area(crop, mask, size_px)[:, :, ::-1])


CONTRACT = "INTER_AREA resize of the masked RGB crop (the contract)"
PREPARATIONS: Mapping[str, Callable[[Image, Mask, int], Image]] = {
    CONTRACT: _area,
    "OpenCV's float32 INTER_AREA in place of the exact one": _resized(cv2.INTER_AREA),
    "INTER_LINEAR in place of INTER_AREA": _resized(cv2.INTER_LINEAR),
    "INTER_CUBIC in place of INTER_AREA": _resized(cv2.INTER_CUBIC),
    "INTER_NEAREST in place of INTER_AREA": _resized(cv2.INTER_NEAREST),
    "a crop instead of a resize": _central_crop,
    "a top-left crop instead of a resize": _top_left_crop,
    "no mask applied": _unmasked,
    "an inverted mask": _mask_inverted,
    "BGR instead of RGB": _bgr,
}


def preparation_of(inputs: Image, crops: list[tuple[Image, Mask]]) -> str:
    """Which way of preparing crops gives ``inputs`` uint8 [M, S, S, 3]; empty where none does."""
    size_px = inputs.shape[1]
    for name, prepare in PREPARATIONS.items():
        made = (prepare(crop, mask, size_px) for crop, mask in crops)
        if all(np.array_equal(one, other) for one, other in zip(made, inputs, strict=True)):
            return name
    return ""


def input_cause(
    got: Image, stored: Image, crops: list[tuple[Image, Mask]], steps: tuple[str, ...]
) -> str:
    """Why network inputs made here are not the stored ones; ``steps`` of the contract."""
    # Golden crops are of no slide: their colour is not scaled, whatever the contract says.
    if tuple(step for step in steps if step != STEP) != CONTRACT_STEPS:
        named = ", ".join(steps)
        return f"crops are decoded or prepared in another way than the contract's ({named})"
    here, there = preparation_of(got, crops), preparation_of(stored, crops)
    if here and here != CONTRACT:
        return f"this installation prepares crops with {here}"
    if there and there != CONTRACT:
        return f"the bundle's stored inputs were made with {there}"
    if here == CONTRACT:
        return "the bundle's stored inputs were not made from these crops"
    return "crops are decoded or prepared in another way than the contract's"
