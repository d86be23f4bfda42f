"""Looking inside a Keras network: what its channels answer to, and which one finds the parasite.

Maps are read behind the ReLUs; a map's pixel stands for the middle of the input pixels it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelShapeError, UsageError
from edge_malaria.keras_layers import keras
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image
from edge_malaria.runtime.explain.occlusion import inside_cell
from edge_malaria.synthetic import draw_cell

Floats = NDArray[np.float32]
Boxes = NDArray[np.float64]
TILE_PX = 48
RELU = keras.activations.relu


@dataclass(frozen=True)
class Channel:
    """One channel, and how often its peak lay within the parasite's box.

    Attributes:
        layer: the layer's name.
        index: of the channel.
        share: 0-1, over the cells that it was chosen or measured on.
        cells: how many.
    """

    layer: str
    index: int
    share: float
    cells: int


def feature_layers(model: Any) -> tuple[str, ...]:
    """Names of the layers with maps worth looking at: ReLUs over [H, W, C], in order.

    Raises:
        ModelShapeError: none.
    """
    rectified = (keras.layers.ReLU, keras.layers.Activation)
    names = tuple(
        layer.name
        for layer in model.layers
        if len(layer.output.shape) == 4
        and (isinstance(layer, rectified) or getattr(layer, "activation", None) is RELU)
    )
    if not names:
        raise ModelShapeError("the model has no layer with a ReLU over an image: nothing to show.")
    return names


def activations(model: Any, layers: Sequence[str], inputs: Image) -> list[Floats]:
    """Maps of several layers for uint8 [N, S, S, 3]; one float32 [N, h, w, C] a layer.

    Raises:
        UsageError: no such layer.
    """
    known = {layer.name for layer in model.layers}
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise UsageError(f"no layer {unknown[0]!r}: expected one of {feature_layers(model)}.")
    watched = keras.Model(model.input, {name: model.get_layer(name).output for name in layers})
    parts = []
    for start in range(0, len(inputs), 64):
        maps = watched(inputs[start : start + 64].astype(np.float32), training=False)
        parts.append([np.asarray(maps[name]) for name in layers])
    return [np.concatenate(maps) for maps in zip(*parts, strict=True)]


def peaks(maps: Floats, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Where each channel peaks within the cell.

    Args:
        maps: float32 [N, h, w, C].
        inside: bool [N, S, S], True where a peak counts; see ``occlusion.inside_cell``.

    Returns:
        float64 [N, C, 2]: x, y in input pixels; NaN where a channel is silent within the cell.
    """
    count, height, width, channels = maps.shape
    size = inside.shape[1]
    grid = np.stack(
        [
            cv2.resize(cell.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            for cell in inside
        ]
    ).astype(bool)
    flat = np.where(grid[..., None], maps, 0.0).reshape(count, height * width, channels)
    best = flat.argmax(axis=1)
    x = (best % width + 0.5) * size / width
    y = (best // width + 0.5) * size / height
    found = np.stack([x, y], axis=-1)
    return np.where((flat.max(axis=1) > 0)[..., None], found, np.nan)


def within(points: NDArray[np.float64], boxes: Boxes) -> NDArray[np.bool_]:
    """Points [N, C, 2] in boxes [N, 4] (x0, y0, x1, y1; half-open); NaN is outside. bool [N, C]."""
    x, y = points[..., 0], points[..., 1]
    x0, y0, x1, y1 = (boxes[:, None, k] for k in range(4))
    return np.asarray((x >= x0) & (x < x1) & (y >= y0) & (y < y1))


def drawn_rings(count: int, size_px: int, seed: int) -> tuple[Image, Boxes]:
    """Drawn ring-stage cells: inputs uint8 [N, S, S, 3], parasite boxes [N, 4] in input pixels."""
    rng = np.random.default_rng(seed)
    cells = [draw_cell(rng, "ring") for _ in range(count)]
    boxes = np.zeros((count, 4))
    for row, cell in zip(boxes, cells, strict=True):
        assert cell.parasite_box is not None  # every ring has one
        height, width = cell.image.shape[:2]
        shrink = np.array([size_px / width, size_px / height] * 2)
        row[:] = np.asarray(cell.parasite_box) * shrink
    return network_inputs([cell.image for cell in cells], size_px), boxes


def best_by_layer(model: Any, inputs: Image, boxes: Boxes) -> list[Channel]:
    """Each layer's channel whose peak lies within the parasite's box most often, in order.

    Args:
        model: float32 [N, S, S, 3] -> logit.
        inputs: uint8 [N, S, S, 3], cells with known parasites, as ``drawn_rings`` gives them.
        boxes: [N, 4] of their parasites, likewise.
    """
    layers = feature_layers(model)
    inside = inside_cell(inputs)
    found = []
    for layer, maps in zip(layers, activations(model, layers, inputs), strict=True):
        shares = within(peaks(maps, inside), boxes).mean(axis=0)
        index = int(shares.argmax())
        found.append(Channel(layer, index, float(shares[index]), len(inputs)))
    return found


def find_channel(model: Any, inputs: Image, boxes: Boxes) -> Channel:
    """The best of ``best_by_layer``; of equals the one nearest the input, whose map is finest."""
    return max(best_by_layer(model, inputs, boxes), key=lambda channel: channel.share)


def measure_channel(model: Any, channel: Channel, inputs: Image, boxes: Boxes) -> Channel:
    """The same channel with its share on other cells."""
    [maps] = activations(model, [channel.layer], inputs)
    hits = within(peaks(maps[..., channel.index, None], inside_cell(inputs)), boxes)
    return Channel(channel.layer, channel.index, float(hits.mean()), len(inputs))


def montage(maps: Floats) -> Image:
    """All channels of one cell's maps [h, w, C] as grey tiles, uint8 [H, W, 3].

    The layer's largest activation is white, 0 is black.
    """
    channels = maps.shape[2]
    columns = int(np.ceil(np.sqrt(channels)))
    rows = -(-channels // columns)
    sheet = np.full((rows * (TILE_PX + 1) + 1, columns * (TILE_PX + 1) + 1), 96, np.uint8)
    # Rounded: the largest times 255 over itself may come out just below 255.
    shown = np.clip(maps * (255.0 / max(float(maps.max()), 1e-9)), 0, 255)
    grey = np.rint(shown).astype(np.uint8)
    for index in range(channels):
        tile = cv2.resize(grey[:, :, index], (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST)
        y, x = (1 + step * (TILE_PX + 1) for step in divmod(index, columns))
        sheet[y : y + TILE_PX, x : x + TILE_PX] = tile
    return np.repeat(sheet[:, :, None], 3, axis=2)


def maximise(model: Any, layer: str, channels: Sequence[int], steps: int = 32) -> Image:
    """Inputs that excite channels most: gradient ascent on the pixels (Erhan et al., 2009).

    Args:
        model: a float network (no FakeQuant).
        layer: whose channels.
        channels: which; each gives one picture.
        steps: of ascent, each 12 grey levels at most, with a light blur against noise.

    Returns:
        uint8 [N, S, S, 3].
    """
    import tensorflow as tf

    watched = keras.Model(model.input, model.get_layer(layer).output)
    size = int(model.input.shape[1])
    start = np.random.default_rng(0).normal(128.0, 8.0, (len(channels), size, size, 3))
    pixels = start.astype(np.float32)
    # One mean of all: a slice for each channel would be undone one by one on the way back.
    chosen = tf.one_hot(list(channels), int(watched.output.shape[-1]))
    for _ in range(steps):
        seen = tf.convert_to_tensor(pixels)
        with tf.GradientTape() as tape:
            tape.watch(seen)
            maps = watched(seen, training=False)
            goal = tf.reduce_sum(tf.reduce_mean(maps, axis=(1, 2)) * chosen)
        slope = np.asarray(tape.gradient(goal, seen))
        slope = slope / (np.abs(slope).max(axis=(1, 2, 3), keepdims=True) + 1e-12)
        pixels = np.clip(pixels + 12.0 * slope, 0.0, 255.0)
        pixels = np.stack([cv2.GaussianBlur(picture, (3, 3), 0.4) for picture in pixels])
    return np.asarray(np.rint(pixels), np.uint8)
