"""Preprocessing options of the studies, put in front of any network; and the set's median size.

The steps are layers (``keras_inputs``), so that every exported file carries them and a device
still hands over uint8 pixels. Whatever has to be fitted is fitted on training cells alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import UsageError
from edge_malaria.image_files.header import image_size
from edge_malaria.keras_inputs import LocalContrastNormalization, PerImageCentering, Whitening
from edge_malaria.keras_layers import keras
from edge_malaria.records import Image
from edge_malaria.training.quantization.fold import copy_weights, parents_of

OPTIONS = {
    "centre": "each picture's mean colour taken away",
    "lcn": "local brightness and contrast made equal",
    "whiten": "neighbouring pixels made uncorrelated (ZCA), fitted on train cells",
}


def expect_option(option: str) -> None:
    """Raises UsageError unless ``option`` is one of ``OPTIONS``."""
    if option not in OPTIONS:
        raise UsageError(f"unknown preprocessing {option!r}: expected one of {sorted(OPTIONS)}.")


def _step(option: str) -> Any:
    name = f"input_{option}"
    if option == "centre":
        return PerImageCentering(name=name)
    if option == "lcn":
        return LocalContrastNormalization(name=name)
    return Whitening(name=name)


def with_preprocessing(model: Any, option: str, train_inputs: Image, seed: int = 0) -> Any:
    """The same network behind one preprocessing layer, weights kept.

    Args:
        model: float32 [N, S, S, 3] in 0-255 -> logit.
        option: of ``OPTIONS``.
        train_inputs: uint8 [N, S, S, 3] of train patients; what ``whiten`` is fitted to.
        seed: of the patches that it is fitted to.

    Raises:
        UsageError: unknown option.
    """
    expect_option(option)
    step = _step(option)
    first = {
        name
        for name, parents in parents_of(model).items()
        if any(isinstance(parent, keras.layers.InputLayer) for parent in parents)
    }

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in first:
            args = (step(args[0]), *args[1:])
        return layer(*args, **kwargs)

    wrapped = keras.models.clone_model(model, call_function=call)
    copy_weights(model, wrapped)
    if option == "whiten":
        step.fit(train_inputs, seed)
    return wrapped


def median_size(dataset: Dataset) -> int:
    """Median of the longer sides of the cells' crops, px, rounded to an even number.

    Args:
        dataset: training rows only; each is opened, most by their header alone.

    Raises:
        DatasetError, ImageError: a picture is missing or damaged.
    """
    sides = []
    for row in dataset.rows:
        shape = image_size(dataset.read_bytes(row)) or dataset.read(row).shape[:2]
        sides.append(max(shape))
    return max(8, 2 * round(float(np.median(sides)) / 2.0))


def side_px(wanted: str | None, train: Dataset) -> int | None:
    """What ``--input-size`` means: a number, ``median`` of ``train``, or None for the default.

    Raises:
        UsageError: neither.
    """
    if wanted is None:
        return None
    if wanted == "median":
        return median_size(train)
    if not (wanted.isdigit() and int(wanted) >= 8):
        raise UsageError(f"--input-size {wanted}: expected a number of px >= 8, or median.")
    return int(wanted)
