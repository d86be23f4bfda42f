"""The cell finder's network and its fitting. See ``finder_targets`` for what it answers.

A small U-net of depthwise-separable convolutions: every layer is a convolution, a ReLU, an
addition or a nearest-neighbour upsampling, so that it becomes int8 as a whole and takes fields of
any size whose sides are multiples of eight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_malaria.keras_layers import keras
from edge_malaria.training.finder.targets import CHANNELS
from edge_malaria.training.finder.tile_source import FinderPlan, TileSource, chunks

layers = keras.layers


def _convolve(x: Any, filters: int, kernel: int, stride: int = 1) -> Any:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.95)(x)
    return layers.ReLU()(x)


def _separable(x: Any, filters: int, stride: int = 1) -> Any:
    """Depthwise 3 x 3, pointwise, with a shortcut where the shape allows it."""
    inner = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    inner = layers.BatchNormalization(momentum=0.95)(inner)
    inner = layers.Conv2D(filters, 1, use_bias=False)(inner)
    inner = layers.BatchNormalization(momentum=0.95)(inner)
    if stride == 1 and x.shape[-1] == filters:
        inner = layers.Add()([inner, x])
    return layers.ReLU()(inner)


def build_finder(widths: tuple[int, int, int] = (16, 32, 64)) -> Any:
    """The network: float32 [N, H, W, 3] of 0-255 RGB -> float32 [N, H/2, W/2, 8]."""
    fine, middle, coarse = widths
    inputs = layers.Input((None, None, 3), name="field")
    x = layers.Rescaling(1 / 255)(inputs)
    half = _separable(_convolve(x, fine, 3, 2), fine)
    quarter = _separable(_separable(half, middle, 2), middle)
    eighth = _separable(_separable(_separable(quarter, coarse, 2), coarse), coarse)
    up = layers.UpSampling2D(2)(_convolve(eighth, middle, 1))
    quarter = _separable(layers.Add()([up, quarter]), middle)
    up = layers.UpSampling2D(2)(_convolve(quarter, fine, 1))
    half = _separable(layers.Add()([up, half]), fine + 8)
    first = keras.initializers.Constant([-3.0, -4.0, -4.0, 0.0, 5.0, 5.0, 5.0, 5.0])
    outputs = layers.Conv2D(CHANNELS, 1, bias_initializer=first, name="answer")(half)
    return keras.Model(inputs, outputs, name="finder")


def finder_loss(truth: Any, answer: Any) -> Any:
    """Focal loss on soft centres, cross-entropy on cover, 1 - IoU plus L1 on the distances."""
    ops = keras.ops
    centres, cover, edges = answer[..., :3], answer[..., 3], answer[..., 4:8]
    wanted = truth[..., :3]
    cross = ops.softplus(centres) - wanted * centres
    hard = ops.square(wanted - ops.sigmoid(centres))
    weight = truth[..., 8:9]
    middle_loss = ops.mean(cross * hard * weight, axis=(1, 2, 3)) * 60.0
    cover_cross = ops.softplus(cover) - truth[..., 3] * cover
    cover_loss = ops.mean(cover_cross * truth[..., 9], axis=(1, 2))
    goal = truth[..., 4:8]
    clipped = ops.maximum(edges, 0.01)
    inter = ops.minimum(clipped, goal)
    overlap = (inter[..., 0] + inter[..., 2]) * (inter[..., 1] + inter[..., 3])
    mine = (clipped[..., 0] + clipped[..., 2]) * (clipped[..., 1] + clipped[..., 3])
    theirs = (goal[..., 0] + goal[..., 2]) * (goal[..., 1] + goal[..., 3])
    apart = 1.0 - overlap / ops.maximum(mine + theirs - overlap, 1e-3)
    off = ops.mean(ops.abs(edges - goal), axis=-1)
    share = truth[..., 10]
    box_loss = ops.sum((apart + 0.15 * off) * share, axis=(1, 2))
    box_loss = box_loss / (ops.sum(share, axis=(1, 2)) + 20.0)
    return middle_loss + cover_loss + 2.0 * box_loss


def train_finder(
    source: TileSource, plan: FinderPlan, say: Callable[[str], None], model: Any = None
) -> Any:
    """Fits the finder.

    Args:
        source: what tiles are made of.
        plan: steps, rates and seed.
        say: takes a line of progress about twice a minute.
        model: goes on from these weights; by default a new network.

    Returns:
        The network with batch norms, its weights averaged over the last steps.
    """
    keras.utils.set_random_seed(plan.seed)
    network = build_finder() if model is None else model
    rate = keras.optimizers.schedules.CosineDecay(
        plan.peak_rate / 20, plan.steps, warmup_target=plan.peak_rate, warmup_steps=150
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=1e-4, clipnorm=5.0, use_ema=True, ema_momentum=0.995
    )
    network.compile(optimizer=optimizer, loss=finder_loss)
    started, told = time.monotonic(), 0.0
    for number, (pictures, wanted) in enumerate(chunks(source, plan)):
        history = network.fit(pictures, wanted.astype(np.float32), batch_size=plan.batch, verbose=0)
        if time.monotonic() - told > 25:
            told = time.monotonic()
            loss = history.history["loss"][0]
            done = (number + 1) * plan.chunk
            say(f"step {done}/{plan.steps} loss {loss:.4f} {told - started:.0f} s")
    optimizer.finalize_variable_values(network.trainable_variables)
    return network
