"""Weights: finite, present, one scale a channel, and none of them lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_malaria.parity.findings import Failure, signature_failure
from edge_malaria.parity.opened import OpenedFile, Subject
from edge_malaria.parity.tflite_file import StoredTensor

# Variants of one network hold the same weights; folding batch norms changes the count by less.
_LEAST_SHARE_OF_WEIGHTS = 0.8


def check_weights(subject: Subject) -> list[Failure]:
    """The weights of every file of the classifier, and their number against the other files."""
    found = []
    for file in subject.files.values():
        found += check_file_weights(file)
    return found + _weight_counts(subject.files)


def check_file_weights(file: OpenedFile) -> list[Failure]:
    """The weights of a file, of a classifier or a finder."""
    return [failure for tensor in file.tensors for failure in _tensor_failures(file, tensor)]


def _tensor_failures(file: OpenedFile, tensor: StoredTensor) -> list[Failure]:
    values, found = tensor.values, []
    if values is not None and values.dtype.kind == "f":
        bad = int(np.count_nonzero(~np.isfinite(values.astype(np.float32))))
        if bad:
            got, cause = f"{bad} NaN or infinite", f"NaN weight in {tensor.name!r}"
            found.append(signature_failure(file.name, "weights", got, "finite numbers", cause))
    if tensor.scales.size and not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
        cause = f"wrong scale in {tensor.name!r}"
        found.append(
            signature_failure(file.name, "weight scales", "not all above 0", "above 0", cause)
        )
    if not tensor.is_kernel or values is None:
        return found
    if not values.any():
        cause = f"the weights of {tensor.name!r} are all zero"
        found.append(
            signature_failure(file.name, "weights that are not zero", 0, values.size, cause)
        )
    channels = max(tensor.shape[0], tensor.shape[-1]) if len(tensor.shape) == 4 else 1
    if file.variant in ("int8", "int8-mixed") and tensor.dtype == "int8":
        if tensor.scales.size == 1 and channels > 1:
            cause = f"one scale for all of {tensor.name!r}: per-tensor instead of per-channel"
            found.append(signature_failure(file.name, "weight scales", 1, "one a channel", cause))
        elif np.unique(tensor.scales).size == 1 < tensor.scales.size and not _full(tensor):
            cause = f"the same scale for every channel of {tensor.name!r}: a per-tensor collapse"
            got = f"{tensor.scales.size} equal scales"
            found.append(signature_failure(file.name, "weight scales", got, "one a channel", cause))
    return found


def _full(tensor: StoredTensor) -> bool:
    """Whether every channel uses its whole scale: then equal scales are honest.

    A scaling by one factor for all channels has them; a per-tensor collapse leaves all channels
    but the largest short of 127.
    """
    values, count = tensor.values, tensor.scales.size
    if values is None:
        return False
    for axis in (values.ndim - 1, 0):
        if values.shape[axis] == count:
            rows = np.abs(np.moveaxis(values, axis, 0).reshape(count, -1).astype(np.int16))
            if bool((rows.max(axis=1) == 127).all()):
                return True
    return False


def _weight_counts(files: Mapping[str, OpenedFile]) -> list[Failure]:
    """Every variant holds about as many weights as the others."""
    counts = {
        name: sum(int(np.prod(t.shape)) for t in file.tensors if t.is_kernel)
        for name, file in files.items()
    }
    most = max(counts.values(), default=0)
    cause = "weights lost in conversion"
    return [
        signature_failure(
            name, "weights stored", count, f"about {most} as in the other files", cause
        )
        for name, count in counts.items()
        if not (count >= _LEAST_SHARE_OF_WEIGHTS * most and count > 0)
    ]
