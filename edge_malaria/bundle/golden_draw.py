"""Draws the golden cells of a bundle; ``golden.py`` says what is stored, ``golden_write`` writes.

Called by the export only, before anything is converted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import NEAR_LOGITS, GoldenCells, GoldenCrop
from edge_malaria.files import encode_image
from edge_malaria.prepare.contract import Target
from edge_malaria.prepare.preprocess import network_input, network_inputs
from edge_malaria.records import Image, Mask, expect

if TYPE_CHECKING:
    from edge_malaria.synthetic import DrawnKind

Logits = Callable[[Any], NDArray[np.float32]]

CELLS = 1024
CROPS = 16
DEFAULT_SEED = 20260101
# Pairs of which blends are made, and how often the share of a blend is halved.
PAIRS = CELLS * 5 // 8
HALVINGS = 7
# Where the network is steep or had few halvings, that is not close enough: until three quarters of
# the blends are near, those that are not go on, at most so often.
_INTERPOLATIONS = 8
_MIXED_AT_ONCE = 64
_PARASITIZED: tuple[DrawnKind, ...] = ("ring", "late-trophozoite", "schizont", "gametocyte")
# Diameters of the drawn cells; smaller ones than a microscope gives, because they draw faster.
_CELL_PX = (50, 111)
# Diameter of the first crop and growth from crop to crop: below and above the network's input.
_CROP_PX = (40, 9)


def draw_golden_cells(
    logits: Logits,
    threshold_logit: float,
    size_px: Target,
    n: int = CELLS,
    seed: int = DEFAULT_SEED,
    halvings: int = HALVINGS,
) -> GoldenCells:
    """Draws the golden cells of one model.

    Half of them are drawn cells; the other half blends of a parasitized and a healthy one, mixed
    until the reference's logit lies within ``NEAR_LOGITS`` of the threshold. There a small error
    of conversion changes a call; far away it would not show. Where the network is so sure that
    too few blends come close, the nearest ones are kept and ``near`` says which are close.

    Args:
        logits: the reference: pixel values [N, S, S, 3] (uint8 or float32) -> float32 [N].
        threshold_logit: the logit at which the deployed decision turns.
        size_px: S, or the whole way of preparing.
        n: how many, at least 2.
        seed: of the drawing.
        halvings: first steps towards the threshold, each a run of the reference on all pairs; 0
            makes no blends: for a large network whose calls on drawn cells decide nothing.
    """
    expect(n >= 16, "n >= 16", n)
    # Plain cells take a quarter of n of each class; pairs for blending are drawn among them all.
    each = max(n * 5 // 16, 8) if halvings else -(-n // 2)
    ill, healthy, state = _plain_cells(seed, each, size_px)
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    if halvings:
        drawn = _with_blends(logits, threshold_logit, (ill, healthy), rng, n, halvings)
    else:
        inputs, truth = np.concatenate([ill, healthy])[:n], (np.arange(n) < each).astype(np.uint8)
        drawn = inputs, np.abs(_wide(logits(inputs)) - threshold_logit) <= NEAR_LOGITS, truth
    crops = tuple(_draw_crop(rng, index) for index in range(CROPS))
    decoded = [crop.decoded() for crop in crops]
    crop_inputs = network_inputs([c for c, _ in decoded], size_px, [m for _, m in decoded])
    return GoldenCells(*drawn, float(threshold_logit), seed, crops, crop_inputs)


def _with_blends(
    logits: Logits,
    threshold_logit: float,
    cells: tuple[Image, Image],
    rng: np.random.Generator,
    n: int,
    halvings: int,
) -> tuple[Image, NDArray[np.bool_], NDArray[np.uint8]]:
    """``n`` cells, near and truth: plain ones of ``cells``, then as many blends as come close."""
    ill, healthy = cells
    each = len(ill)
    pairs = rng.integers(0, each, (2, n * 5 // 8))
    targets = threshold_logit + rng.uniform(-NEAR_LOGITS, NEAR_LOGITS, (pairs.shape[1],))
    search = _Blends(logits, targets, (ill, healthy), pairs)
    for _ in range(halvings):
        search.halve()
    for _ in range(_INTERPOLATIONS):
        far = np.flatnonzero(~(np.abs(search.found - threshold_logit) <= NEAR_LOGITS))
        if len(targets) - len(far) >= n * 3 // 8:
            break
        search.interpolate(far)
    closest = np.sort(np.argsort(np.abs(search.found - targets), kind="stable")[: n // 2])
    blends, values = search.chosen[closest], search.found[closest] - threshold_logit
    plain = n - len(blends)
    inputs = np.concatenate([ill[: (plain + 1) // 2], healthy[: plain // 2], blends])
    truth = np.concatenate([np.ones((plain + 1) // 2), np.zeros(plain // 2), values >= 0.0])
    near = np.concatenate([np.zeros(plain, bool), np.abs(values) <= NEAR_LOGITS])
    return inputs, near, truth.astype(np.uint8)


def _draw(rng: np.random.Generator, parasitized: int, size_px: int) -> tuple[Image, Mask]:
    """One drawn crop uint8 [H, W, 3], black outside its mask bool [H, W]."""
    from edge_malaria.synthetic import draw_cell

    kinds: tuple[DrawnKind, ...] = _PARASITIZED if parasitized else ("healthy",)
    drawn = draw_cell(rng, kinds[int(rng.integers(len(kinds)))], size_px)
    return drawn.image, drawn.mask


@lru_cache(maxsize=1)
def _plain_cells(seed: int, each: int, size_px: Target) -> tuple[Image, Image, Any]:
    """Parasitized and healthy cells uint8 [each, S, S, 3], and the generator's state after them.

    They depend on no network: whoever exports several of one size draws them once.
    """
    rng = np.random.default_rng(seed)
    ill, healthy = (_draw_inputs(rng, kind, each, size_px) for kind in (1, 0))
    for cells in (ill, healthy):
        cells.setflags(write=False)
    return ill, healthy, rng.bit_generator.state


def _draw_inputs(rng: np.random.Generator, parasitized: int, n: int, size_px: Target) -> Image:
    sizes = rng.integers(*_CELL_PX, n)
    drawn = (_draw(rng, parasitized, int(size)) for size in sizes)
    return np.stack([network_input(image, size_px, mask) for image, mask in drawn])


def _draw_crop(rng: np.random.Generator, index: int) -> GoldenCrop:
    cell, mask = _draw(rng, index % 2, int(_CROP_PX[0] + index * _CROP_PX[1]))
    # A textured surrounding that the mask has to take away.
    around = rng.integers(120, 250, cell.shape, dtype=np.uint8)
    image = np.where(mask[:, :, None], cell, around).astype(np.uint8)
    mask_image = np.repeat(mask[:, :, None].astype(np.uint8) * 255, 3, axis=2)
    return GoldenCrop(
        f"crop{index:02d}", encode_image(image, ".png"), encode_image(mask_image, ".png")
    )


def _mix(ill: Image, healthy: Image, share: NDArray[np.float64]) -> Image:
    """``share`` [N] of the parasitized cell, the rest of the healthy one, per pair."""
    mixed = np.empty_like(ill)
    # In float64 a few pairs at a time: all pairs of a 224-px network would take 3 GB.
    for start in range(0, len(ill), _MIXED_AT_ONCE):
        part = slice(start, start + _MIXED_AT_ONCE)
        weight = share[part, None, None, None]
        mixed[part] = np.rint(weight * ill[part] + (1.0 - weight) * healthy[part])
    return mixed


class _Blends:
    """Blends of pairs of cells on their way to a target logit each.

    Args:
        logits: the reference.
        targets: [P].
        cells: parasitized and healthy ones, uint8 [M, S, S, 3] each.
        pairs: [2, P], rows of ``cells``.

    Attributes:
        chosen, found: the closest blend of each pair so far, uint8 [P, S, S, 3], and its logit [P].
    """

    def __init__(
        self,
        logits: Logits,
        targets: NDArray[np.float64],
        cells: tuple[Image, Image],
        pairs: NDArray[np.int64],
    ) -> None:
        self._logits, self._targets = logits, targets
        self._ill, self._healthy = cells[0][pairs[0]], cells[1][pairs[1]]
        # Each cell stands in several pairs and is run once.
        self._at_low = _wide(logits(cells[1]))[pairs[1]]
        self._at_high = _wide(logits(cells[0]))[pairs[0]]
        # Where the reference takes the healthy cell for the worse one, the logit falls.
        self._rises = self._at_high >= self._at_low
        self._low, self._high = np.zeros(len(targets)), np.ones(len(targets))
        nearer = np.abs(self._at_high - targets) < np.abs(self._at_low - targets)
        self.chosen = np.where(nearer[:, None, None, None], self._ill, self._healthy)
        self.found = np.where(nearer, self._at_high, self._at_low)

    def halve(self) -> None:
        """Runs every pair half-way between its bounds."""
        self._run(np.arange(len(self._targets)), (self._low + self._high) / 2.0)

    def interpolate(self, rows: NDArray[np.intp]) -> None:
        """Runs some pairs where a straight line between their bounds meets the target."""
        rise = self._at_high[rows] - self._at_low[rows]
        part = (self._targets[rows] - self._at_low[rows]) / np.where(rise == 0.0, 1.0, rise)
        low, high = self._low[rows], self._high[rows]
        # Off the bounds, so that a curve which bends away still comes closer.
        self._run(rows, low + (high - low) * np.clip(part, 0.1, 0.9))

    def _run(self, rows: NDArray[np.intp], share: NDArray[np.float64]) -> None:
        mixed = _mix(self._ill[rows], self._healthy[rows], share)
        values, targets = _wide(self._logits(mixed)), self._targets[rows]
        closer = np.abs(values - targets) < np.abs(self.found[rows] - targets)
        self.chosen[rows[closer]], self.found[rows[closer]] = mixed[closer], values[closer]
        more = (values < targets) == self._rises[rows]
        raised, lowered = rows[more], rows[~more]
        self._low[raised], self._at_low[raised] = share[more], values[more]
        self._high[lowered], self._at_high[lowered] = share[~more], values[~more]


def _wide(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values).reshape(len(values), -1)[:, 0].astype(np.float64)
