"""Semantic segmentation of a field: an FCN that labels every pixel, and its fitting.

A fully convolutional network (Long, Shelhamer, Darrell, "Fully convolutional networks for semantic
segmentation", CVPR 2015, arXiv 1411.4038) in the family of the U-net (Ronneberger et al., MICCAI
2015, arXiv 1505.04597): convolutions of stride 2 downwards, transposed convolutions upwards, skip
connections between. Its classes are ``semantic_finder.PIXEL_CLASSES``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.keras_layers import keras
from edge_malaria.training.finder.tile_source import FinderPlan, chunks
from edge_malaria.training.segmentation.semantic_finder import PIXEL_CLASSES
from edge_malaria.training.segmentation.tiles import SegmentationSource, unpacked

layers = keras.layers
WIDTHS = (16, 32, 64)
# Few pixels are boundary, white cell or parasite; what the loss counts them for.
CLASS_WEIGHTS = (1.0, 1.0, 2.0, 1.5, 5.0)


def _convolve(x: Any, filters: int, name: str, stride: int = 1) -> Any:
    x = layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _up(x: Any, skip: Any, name: str) -> Any:
    """Twice the resolution by a transposed convolution, plus the skip connection."""
    filters = int(skip.shape[-1])
    x = layers.Conv2DTranspose(filters, 4, 2, "same", name=f"{name}_up")(x)
    return layers.Add(name=f"{name}_skip")([x, skip])


def build_fcn(widths: tuple[int, int, int] = WIDTHS) -> Any:
    """The network: float32 [N, H, W, 3] of 0-255 RGB -> logits float32 [N, H, W, 5].

    Args:
        widths: channels at a half, a quarter and an eighth of the resolution. Sides of the input
            are multiples of 8.
    """
    fine, middle, coarse = widths
    inputs = layers.Input((None, None, 3), name="field")
    x = layers.Rescaling(1 / 255, name="scale")(inputs)
    half = _convolve(x, fine, "half", 2)
    quarter = _convolve(_convolve(half, middle, "quarter1", 2), middle, "quarter2")
    eighth = _convolve(_convolve(quarter, coarse, "eighth1", 2), coarse, "eighth2")
    x = _convolve(_up(eighth, quarter, "quarter"), middle, "quarter3")
    x = _convolve(_up(x, half, "half"), fine, "half2")
    outputs = layers.Conv2DTranspose(len(PIXEL_CLASSES), 4, 2, "same", name="classes")(x)
    return keras.Model(inputs, outputs, name="fcn")


def pixel_loss(allowed: Any, logits: Any) -> Any:
    """Cross-entropy where a pixel may be any of the classes that its truth allows.

    Args:
        allowed: float32 [N, H, W, 5], 1 for each class that the pixel may have. Where the truth
            is a red cell whose parasites nobody marked, that is red cell or parasite; where
            nothing is known, all, and the pixel costs nothing.
        logits: float32 [N, H, W, 5].
    """
    ops = keras.ops
    chosen = ops.logsumexp(logits + ops.log(allowed + 1e-9), axis=-1)
    cost = ops.logsumexp(logits, axis=-1) - chosen
    weights = ops.convert_to_tensor(np.array(CLASS_WEIGHTS, np.float32))
    weight = ops.sum(allowed * weights, axis=-1) / ops.maximum(ops.sum(allowed, axis=-1), 1.0)
    return ops.mean(ops.maximum(cost, 0.0) * weight, axis=(1, 2))


def train_fcn(
    source: SegmentationSource,
    plan: FinderPlan,
    say: Callable[[str], None] = print,
    minutes: float = math.inf,
    cpu_minutes: float = math.inf,
) -> tuple[Any, dict[str, Any]]:
    """Fits the FCN.

    Args:
        source: what tiles are made of.
        plan: most steps, batch, rate and seed.
        say: takes a line of progress about twice a minute.
        minutes: stop after so much time on the clock, whatever ``plan.steps`` says. The rate falls
            to zero with whichever time is used up first.
        cpu_minutes: the same of all cores (drawing the tiles, in a process of its own, comes on
            top).

    Returns:
        (the network with its weights averaged over the last steps, what was done: steps, tiles,
        last loss, seconds on the clock and of all cores).
    """
    keras.utils.set_random_seed(plan.seed)
    network = build_fcn()
    # A slow average would still remember the random start after a short training.
    optimizer = keras.optimizers.AdamW(
        plan.peak_rate,
        weight_decay=1e-4,
        clipnorm=5.0,
        use_ema=True,
        ema_momentum=0.99 if plan.steps >= 1000 else 0.9,
    )
    network.compile(optimizer=optimizer, loss=pixel_loss)
    started, worked, told = time.monotonic(), time.process_time(), 0.0
    done, loss = 0, float("nan")
    for pictures, packed in chunks(source, plan):
        clock = (time.monotonic() - started) / 60 / minutes
        cores = (time.process_time() - worked) / 60 / cpu_minutes
        used = max(done / plan.steps, clock, cores)
        if used >= 1.0:
            break
        optimizer.learning_rate.assign(_rate(used, plan.peak_rate))
        wanted = unpacked(np.asarray(packed, np.uint8))
        history = network.fit(pictures, wanted, batch_size=plan.batch, verbose=0)
        loss = float(history.history["loss"][0])
        done += plan.chunk
        if time.monotonic() - told > 25:
            told = time.monotonic()
            say(f"step {done} loss {loss:.4f} {told - started:.0f} s, {100 * used:.0f} %")
    optimizer.finalize_variable_values(network.trainable_variables)
    facts = {"steps": done, "tiles": done * plan.batch, "last_loss": loss}
    seconds = {
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
    }
    return network, {**facts, **seconds}


def _rate(used: float, peak: float) -> float:
    """Warm-up over 3 % of the training, then half a cosine to a fiftieth of the peak."""
    if used < 0.03:
        return peak * (0.1 + 0.9 * used / 0.03)
    return peak * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * used)))


def class_iou(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> dict[str, tuple[int, int]]:
    """Per class (pixels of both, pixels of either) of two label maps uint8 [H, W].

    Pixels of ``truth`` that are no index of ``PIXEL_CLASSES`` do not count.
    """
    known = truth < len(PIXEL_CLASSES)
    return {
        name: (
            int(((truth == index) & (found == index) & known).sum()),
            int((((truth == index) | (found == index)) & known).sum()),
        )
        for index, name in enumerate(PIXEL_CLASSES)
    }
