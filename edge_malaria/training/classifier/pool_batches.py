"""Batches of a drawn pool (``pool``) for one network, of the cells that it may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DataError, DatasetError
from edge_malaria.records import Image
from edge_malaria.training.classifier.pool import PARTS
from edge_malaria.training.classifier.recipe import Floats, Recipe

# (a pass's folder, a part of ``PARTS``) -> float32 [n], a network's logits of that part.
PoolLogits = Callable[[Path, str], Floats]


@dataclass(frozen=True)
class Reference:
    """A network that is there already: its opinion of the pool's cells, and what follows from it.

    Attributes:
        logits: of its views of the pool's cells.
        share: of its probability in the targets of home cells (Hinton et al. 2015,
            arXiv 1503.02531).
        doubt: home cells are left out where its probability is at least this far from the label:
            faded parasites, doubtful labels.
        visible: transplanted cells at or below this logit are left out: nobody could see the
            parasite.
        hard_negatives: share of the foreign cells drawn in proportion to
            exp(``steepness`` x logit), the logit kept between -3 and 5; the rest evenly.
        steepness: see ``hard_negatives``.
    """

    logits: PoolLogits
    share: float = 0.6
    doubt: float = 0.7
    visible: float = 0.0
    hard_negatives: float = 0.6
    steepness: float = 0.6


@dataclass(frozen=True, eq=False)
class PooledExamples:
    """Batches of a pool for one network; takes the place of ``recipe.Examples`` in training.

    Attributes:
        directory: of ``pool.draw_pool``.
        labels: float32 [N] of the pool's home cells.
        allowed: bool [N], home cells (patients) that this network may see.
        laboratory: str [M] of the pool's foreign cells.
        without: laboratories that this network must not see, as recipients of parasites neither.
        batch: cells of each of ``PARTS`` in a batch.
        reference: None for labels alone.
        turned: whether each cell is shown in one of its eight turns and flips, drawn anew.
    """

    directory: Path
    labels: Floats
    allowed: NDArray[np.bool_]
    laboratory: NDArray[np.str_]
    without: tuple[str, ...] = ()
    batch: tuple[int, int, int, int] = (96, 44, 20, 24)
    reference: Reference | None = None
    turned: bool = False
    passes: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = tuple(sorted(self.directory.glob("pass-*")))
        if not found:
            raise DataError(f"{self.directory} holds no pool.")
        object.__setattr__(self, "passes", found)

    def __len__(self) -> int:
        """Home cells of a pass; with ``Recipe.batch`` set to ``batch[0]`` its steps."""
        return int(self.allowed.sum()) // self.batch[0] * self.batch[0]

    def batches(self, recipe: Recipe, epoch: int) -> Iterator[tuple[Floats, Floats]]:
        """(float32 [B, S, S, 3], targets float32 [B, 1]) of one epoch."""
        folder = self.passes[epoch % len(self.passes)]
        rng = np.random.default_rng([recipe.seed, epoch])
        steps = len(self) // self.batch[0]
        places, home_targets = self._home(folder, rng)
        order = {
            "home": _repeated(places, steps * self.batch[0], rng),
            "foreign": self._negatives(
                folder,
                "foreign",
                self._not_left_out(folder, "foreign"),
                steps * self.batch[1],
                rng,
            ),
            "transplanted": self._transplanted(folder, steps * self.batch[2], rng),
            "artefacts": self._negatives(
                folder, "artefacts", self._artefacts(folder), steps * self.batch[3], rng
            ),
        }
        arrays = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in PARTS}
        truth = {"foreign": 0.0, "transplanted": 1.0, "artefacts": 0.0}
        for number in range(steps):
            cells, targets = [], []
            for part, count in zip(PARTS, self.batch, strict=True):
                own = order[part][number * count : (number + 1) * count]
                cells.append(arrays[part][own])
                targets.append(home_targets[own] if part == "home" else np.full(count, truth[part]))
            batch = np.concatenate(cells)
            if self.turned:
                batch = turned(batch, rng)
            yield batch.astype(np.float32), np.concatenate(targets).astype(np.float32)[:, None]

    def _home(self, folder: Path, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
        """(places in the pass that may be shown, shuffled; targets of all places)."""
        index = np.load(folder / "home_index.npy")
        labels, kept = self.labels[index], self.allowed[index]
        if self.reference is not None:
            logits = self.reference.logits(folder, "home").astype(np.float64)
            opinion = 1.0 / (1.0 + np.exp(-logits))
            kept = kept & (np.abs(opinion - labels) < self.reference.doubt)
            labels = (1.0 - self.reference.share) * labels + self.reference.share * opinion
        return rng.permutation(np.flatnonzero(kept)), labels.astype(np.float32)

    def _not_left_out(self, folder: Path, part: str) -> NDArray[np.bool_]:
        index = np.load(folder / f"{part}_index.npy")
        return ~np.isin(self.laboratory[index], self.without)

    def _artefacts(self, folder: Path) -> NDArray[np.bool_]:
        """bool [n]: patient, laboratory and the platelet's laboratory may all be shown."""
        index = np.load(folder / "artefacts_index.npy")
        at_home = index < 0
        seen = np.where(at_home, self.allowed[np.where(at_home, -1 - index, 0)], False)
        seen |= ~at_home & ~np.isin(self.laboratory[np.where(at_home, 0, index)], self.without)
        sources = np.load(folder / "artefacts_laboratory.npy")
        return np.asarray(seen & ~np.isin(sources, self.without))

    def _negatives(
        self,
        folder: Path,
        part: str,
        kept: NDArray[np.bool_],
        count: int,
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Healthy cells of a part, ``hard_negatives`` of them by how parasitized they look."""
        places = np.flatnonzero(kept)
        if self.reference is None or not len(places):
            return _repeated(places, count, rng)
        logits = np.clip(self.reference.logits(folder, part)[places], -3.0, 5.0)
        edges = np.cumsum(np.exp(self.reference.steepness * logits.astype(np.float64)))
        hard = round(self.reference.hard_negatives * count)
        drawn = places[np.searchsorted(edges, rng.random(hard) * edges[-1])]
        return rng.permutation(np.concatenate([drawn, _repeated(places, count - hard, rng)]))

    def _transplanted(
        self, folder: Path, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        kept = self._not_left_out(folder, "transplanted")
        if self.reference is not None:
            kept &= self.reference.logits(folder, "transplanted") > self.reference.visible
        return _repeated(np.flatnonzero(kept), count, rng)


def turned(cells: Image, rng: np.random.Generator) -> Image:
    """Each cell of uint8 [N, S, S, 3] in one of its eight quarter turns and flips."""
    made, which = cells.copy(), rng.integers(0, 8, len(cells))
    for view in range(1, 8):
        own = cells[which == view]
        made[which == view] = np.rot90(own[:, :, ::-1] if view >= 4 else own, view % 4, (1, 2))
    return made


def _repeated(places: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` of ``places``, shuffled anew in each round.

    Raises:
        DatasetError: there is nothing to draw from.
    """
    if not count:
        return places[:0]
    if not len(places):
        raise DatasetError("the pool has no cells left for this network: too much is left out.")
    rounds = -(-count // len(places))
    return np.concatenate([rng.permutation(places) for _ in range(rounds)])[:count]
