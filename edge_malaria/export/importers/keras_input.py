"""The input of a loaded Keras model: its side, and a Resizing layer in front of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_malaria.errors import ModelShapeError, UsageError


def _flat_layers(model: Any) -> list[Any]:
    found = []
    for layer in model.layers:
        found += _flat_layers(layer) if hasattr(layer, "layers") else [layer]
    return found


def resizing(model: Any) -> dict[str, str]:
    """The first Resizing layer in front of everything with weights, if there is one.

    Returns:
        ``resize`` (a word of the contract) and ``side`` (px), or nothing.
    """
    for layer in _flat_layers(model):
        if type(layer).__name__ == "Resizing":
            word = {"bilinear": "linear", "nearest": "nearest", "area": "area"}
            if layer.interpolation in word and not layer.crop_to_aspect_ratio:
                return {"resize": word[layer.interpolation], "side": str(layer.height)}
        if layer.weights:
            return {}
    return {}


def input_side(model: Any, path: Path, input_size: int | None, told: dict[str, str]) -> int:
    """The side of the model's square input, px.

    Args:
        model: Keras, loaded.
        path: named in messages.
        input_size: what the user said; for a model that leaves its side open.
        told: of ``resizing``; its ``resize`` is taken out where the layer does not decide.

    Raises:
        UsageError: the side is open and nobody said it, or it is fixed and another was said.
        ModelShapeError: not square, or not of three channels.
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        shape = (None, None, None, 3)
    side = shape[1]
    if side is None and "side" in told:
        # The network brings any size to this one by itself: the device does that before it.
        return agreed_side(path, int(told["side"]), input_size)
    told.pop("resize", None)
    if side is None and input_size is None:
        raise UsageError(
            f"{path} leaves the side of its input open. Say what it was trained with, for example: "
            "--input-size 64"
        )
    if shape[1] != shape[2] or shape[3] != 3:
        raise ModelShapeError(
            f"{path}: expected input [N, S, S, 3], square and of three channels, got {shape}."
        )
    return agreed_side(path, int(side or input_size or 0), input_size)


def agreed_side(path: Path, side: int, input_size: int | None) -> int:
    """The side that a model has, px, where nobody said another one.

    Raises:
        UsageError: somebody did.
    """
    if input_size is not None and input_size != side:
        raise UsageError(f"{path} takes {side} px, --input-size says {input_size}.")
    return side
