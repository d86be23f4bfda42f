"""Drawn cells in the batches of the passes with rounding.

The gate compares int8 with float on drawn cells. Where the activations of drawn cells lie outside
the ranges that real cells gave, or the network was never asked to be exact there, a small network
loses more to rounding on them than on real cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.contract import Target
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.training.classifier.feed import OwnBatches
from edge_malaria.training.classifier.recipe import Floats, Recipe

if TYPE_CHECKING:
    from edge_malaria.synthetic import DrawnKind

# Of each class. The golden cells of a bundle have another seed (``bundle/golden_draw.py``).
CELLS, SEED = 3_000, 777
# Diameters in px, from and below, as golden cells are drawn.
_SIZES_PX = (50, 111)
_PARASITIZED: tuple[DrawnKind, ...] = ("ring", "late-trophozoite", "schizont", "gametocyte")
# Share of the drawn cells that are blends of a parasitized and a healthy one.
_BLENDS = 0.5


def draw_both(target: Target, each: int = CELLS, seed: int = SEED) -> tuple[Image, Image]:
    """(parasitized, healthy) drawn cells as network inputs, uint8 [each, S, S, 3] both."""
    from edge_malaria.synthetic import draw_cell

    rng = np.random.default_rng(seed)
    made = []
    kinds: tuple[DrawnKind, ...]
    for kinds in (_PARASITIZED, ("healthy",)):
        inputs = []
        for size in rng.integers(*_SIZES_PX, each):
            cell = draw_cell(rng, kinds[int(rng.integers(len(kinds)))], int(size))
            inputs.append(network_input(cell.image, target, cell.mask))
        made.append(np.stack(inputs))
    return made[0], made[1]


@dataclass(frozen=True, eq=False)
class WithDrawn:
    """Batches of ``inner``, each with ``count`` drawn cells behind its own.

    Attributes:
        inner: the batches of real cells.
        network: float network whose probabilities are the drawn cells' targets: they teach
            nothing but what the network says already.
        parasitized, healthy: uint8 [M, S, S, 3] each.
        count: drawn cells in a batch.
    """

    inner: OwnBatches
    network: Any
    parasitized: Image
    healthy: Image
    count: int

    def __len__(self) -> int:
        """That of ``inner``."""
        return len(self.inner)

    def batches(self, recipe: Recipe, epoch: int) -> Iterator[tuple[Floats, Floats]]:
        """(float32 [B + count, S, S, 3], targets float32 [B + count, 1]) of one epoch."""
        rng = np.random.default_rng([recipe.seed, epoch, SEED])
        for cells, targets in self.inner.batches(recipe, epoch):
            drawn = self._drawn(rng)
            logits = np.asarray(self.network(drawn, training=False), np.float64)[:, :1]
            opinion = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
            yield np.concatenate([cells, drawn]), np.concatenate([targets, opinion])

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """float32 [count, S, S, 3] in 0-255: whole cells of both classes, and blends."""
        ill = self.parasitized[rng.integers(0, len(self.parasitized), self.count)]
        well = self.healthy[rng.integers(0, len(self.healthy), self.count)]
        whole = rng.integers(0, 2, self.count).astype(np.float64)
        blended = rng.random(self.count)
        share = np.where(rng.random(self.count) < _BLENDS, blended, whole)[:, None, None, None]
        return np.rint(share * ill + (1.0 - share) * well).astype(np.float32)
