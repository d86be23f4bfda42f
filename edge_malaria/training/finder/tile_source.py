"""The stream of training tiles, drawn ahead in a process of its own that loads no Keras."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image
from edge_malaria.training.finder.compose import compose
from edge_malaria.training.finder.data import TruthField, read_fit_fields, read_patches, real_tile
from edge_malaria.training.finder.targets import CHANNELS, targets

TILE_PX = 128
Half = NDArray[np.float16]


@dataclass(frozen=True)
class FinderPlan:
    """How the finder is fitted.

    Attributes:
        steps: optimizer steps in all.
        batch: tiles a step.
        chunk: steps on tiles of one draw.
        peak_rate: the learning rate after warming up; it falls to 0 along a cosine.
        real_share: of the tiles, 0-1; the rest is composed.
        patches: real red cells that tiles are composed of.
        seed: of everything random here.
    """

    steps: int = 6000
    batch: int = 8
    chunk: int = 40
    peak_rate: float = 3e-3
    real_share: float = 0.4
    patches: int = 3000
    seed: int = 1


@dataclass(frozen=True, eq=False)
class TileSource:
    """What tiles are made of.

    Attributes:
        patches: float16 [N, P, P, 4], absorbance of real red cells.
        fields: real fields, shrunk to what the network needs.
    """

    patches: Half
    fields: list[TruthField]

    def chunk(self, plan: FinderPlan, index: int) -> tuple[Image, Half]:
        """Tiles and targets of chunk ``index``; the same for the same plan."""
        rng = np.random.default_rng((plan.seed, index))
        count = plan.batch * plan.chunk
        pictures = np.empty((count, TILE_PX, TILE_PX, 3), np.uint8)
        wanted = np.empty((count, TILE_PX // 2, TILE_PX // 2, CHANNELS + 3), np.float16)
        for number in range(count):
            if self.fields and rng.random() < plan.real_share:
                tile = real_tile(rng, self.fields[rng.integers(len(self.fields))], TILE_PX)
            else:
                hand = self.patches[rng.integers(len(self.patches), size=60)]
                tile = compose(rng, list(hand.astype(np.float32)), TILE_PX)
            pictures[number], wanted[number] = tile.image, targets(tile)
        return pictures, wanted


def open_source(data: Path, plan: FinderPlan) -> TileSource:
    """Reads ``data``/nih (training patients) and the fields that may be fitted on."""
    patches = read_patches(data / "nih" / "cell_images.zip", plan.patches, plan.seed)
    return TileSource(patches.astype(np.float16), read_fit_fields(data / "fields"))


_source: TileSource | None = None


def _start(source: TileSource) -> None:
    global _source
    _source = source


def _draw(plan: FinderPlan, index: int) -> tuple[Image, Half]:
    assert _source is not None
    return _source.chunk(plan, index)


def chunks(source: TileSource, plan: FinderPlan) -> Iterator[tuple[Image, Half]]:
    """The training tiles, chunk by chunk, drawn ahead in another process."""
    count = -(-plan.steps // plan.chunk)
    with ProcessPoolExecutor(1, get_context("spawn"), _start, (source,)) as pool:
        waiting = [pool.submit(_draw, plan, index) for index in range(min(3, count))]
        for index in range(count):
            yield waiting.pop(0).result()
            if index + 3 < count:
                waiting.append(pool.submit(_draw, plan, index + 3))
