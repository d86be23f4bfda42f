"""The training pool: augmented cells of home, of other laboratories, and grafted ones, on disk.

Drawing them costs more than learning from them. A pool is drawn once, pass by pass, and every
network learns from the same one: the shipped ones, those that leave a laboratory out, and those
that leave patients out. A pass is a pure function of (seed, pass); an interrupted pool goes on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DataError, DatasetError
from edge_malaria.files import storage_errors
from edge_malaria.records import Image
from edge_malaria.training.classifier.augment import augment
from edge_malaria.training.classifier.recipe import Floats, Recipe
from edge_malaria.training.classifier.teachers import SEEN_AND_UNSEEN
from edge_malaria.training.classifier.transplant import Parasite, graft, with_contrast

PARTS = ("home", "foreign", "grafted")
_CHUNK = 500


@dataclass(frozen=True)
class PoolPlan:
    """How a pool is drawn.

    Attributes:
        passes: over the home cells.
        foreign, grafted: cells a home cell.
        hard: share of the foreign cells drawn by how parasitized they look, the rest evenly.
        contrast: share of cells whose contrast is changed; a quarter of that of grafted ones, whose
            contrast was drawn already.
        other_renderings: share of home cells from the half-size and 50 x 50 renderings.
        seed: of everything.
    """

    passes: int = 6
    foreign: float = 0.45
    grafted: float = 0.36
    hard: float = 0.4
    contrast: float = 0.5
    other_renderings: float = 0.3
    seed: int = 20261127


@dataclass(frozen=True, eq=False)
class PoolCells:
    """What a pool is drawn from.

    Attributes:
        home: uint8 [R, N, S, S, 3], renderings of home cells, the original size first.
        foreign: uint8 [M, S, S, 3].
        laboratory: str [M].
        weight: float [M], how parasitized a foreign cell looks, above 0.
        hosts: bool [M], which foreign cells may carry a parasite.
        parasites: of training patients.
    """

    home: Image
    foreign: Image
    laboratory: NDArray[np.str_]
    weight: NDArray[np.float64]
    hosts: NDArray[np.bool_]
    parasites: Sequence[Parasite]

    def __post_init__(self) -> None:
        if not len(self.parasites) or not self.hosts.any():
            raise DatasetError("a pool needs parasites and foreign cells that may carry them.")


class _Laboratories:
    """Draws foreign cells: laboratories by the root of their numbers, so that none drowns."""

    def __init__(self, cells: PoolCells, plan: PoolPlan) -> None:
        self.cells, self.plan = cells, plan
        self.names, counts = np.unique(cells.laboratory, return_counts=True)
        self.chance = np.sqrt(counts) / np.sqrt(counts).sum()
        self.members = [np.flatnonzero(cells.laboratory == name) for name in self.names]
        self.hosts = [own[cells.hosts[own]] for own in self.members]
        self.edges = [np.cumsum(cells.weight[own]) for own in self.members]

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of ``count`` foreign cells."""
        chosen = []
        for place in rng.choice(len(self.names), count, p=self.chance):
            own, edges = self.members[place], self.edges[place]
            if rng.random() < self.plan.hard:
                chosen.append(own[np.searchsorted(edges, rng.random() * edges[-1])])
            else:
                chosen.append(own[rng.integers(len(own))])
        return np.array(chosen, np.int64)

    def grafted(self, count: int, rng: np.random.Generator) -> tuple[Image, NDArray[np.int64]]:
        """(uint8 [count, S, S, 3] with parasites, the hosts' indices)."""
        made, hosts = [], []
        for place in rng.choice(len(self.names), count, p=self.chance):
            for _ in range(50):
                host = int(rng.choice(self.hosts[place]))
                parasite = self.cells.parasites[int(rng.integers(len(self.cells.parasites)))]
                grown = graft(self.cells.foreign[host], parasite, rng)
                if grown is not None:
                    made.append(grown)
                    hosts.append(host)
                    break
            else:
                raise DatasetError(f"{self.names[place]}: no parasite fits into its cells.")
        return np.stack(made), np.array(hosts, np.int64)


def draw_pool(
    cells: PoolCells,
    plan: PoolPlan,
    directory: Path,
    step: Callable[[int], None] = lambda done: None,
) -> None:
    """Draws what ``directory`` lacks of a pool; ``step`` is called with each finished pass.

    Raises:
        StorageError: the directory is not writable.
    """
    laboratories = _Laboratories(cells, plan)
    for number in range(plan.passes):
        target = directory / f"pass-{number:03d}"
        if not target.is_dir():
            rng = np.random.default_rng([plan.seed, number])
            _store(_drawn(cells, laboratories, plan, rng), target)
        step(number + 1)


def _drawn(
    cells: PoolCells, laboratories: _Laboratories, plan: PoolPlan, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    order = rng.permutation(cells.home.shape[1])
    other = rng.random(len(order)) < plan.other_renderings
    which = np.where(other, rng.integers(1, max(2, len(cells.home)), len(order)), 0)
    which = np.minimum(which, len(cells.home) - 1)
    home = _changed(
        lambda part: cells.home[which[part], order[part]], len(order), plan.contrast, rng
    )
    chosen = laboratories.draw(round(plan.foreign * len(order)), rng)
    foreign = _changed(lambda part: cells.foreign[chosen[part]], len(chosen), plan.contrast, rng)
    made, hosts = laboratories.grafted(round(plan.grafted * len(order)), rng)
    grafted = _changed(lambda part: made[part], len(made), plan.contrast / 4, rng)
    return {
        "home": home,
        "foreign": foreign,
        "grafted": grafted,
        "home_index": order,
        "foreign_index": chosen,
        "grafted_index": hosts,
    }


def _changed(
    take: Callable[[slice], Image], count: int, share: float, rng: np.random.Generator
) -> Image:
    parts = []
    for start in range(0, count, _CHUNK):
        batch = with_contrast(take(slice(start, min(start + _CHUNK, count))), rng, share)
        parts.append(augment(batch, rng, SEEN_AND_UNSEEN).astype(np.uint8))
    return np.concatenate(parts)


def _store(arrays: dict[str, NDArray[Any]], target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with storage_errors(target):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        temporary.rename(target)


@dataclass(frozen=True)
class Before:
    """What networks that were there before say of a pool's cells, and what follows from it.

    Attributes:
        logits: (pass's folder, part) -> float32 [n], its logits.
        share: its share in home cells' targets.
        doubt: home cells whose label it contradicts this surely (probability) are left out: faded
            parasites, doubtful labels.
        visible: grafted cells at or below this logit are left out: nobody could see the parasite.
        hard: share of the foreign cells drawn by how parasitized they look, the rest evenly.
        steepness: a foreign cell's weight is exp(steepness x logit), between -3 and 5.
    """

    logits: Callable[[Path, str], Floats]
    share: float = 0.6
    doubt: float = 0.7
    visible: float = 0.0
    hard: float = 0.6
    steepness: float = 0.6


@dataclass(frozen=True, eq=False)
class PooledExamples:
    """Batches of a pool for one network; takes the place of ``recipe.Examples`` in training.

    Attributes:
        directory: of ``draw_pool``.
        labels: float32 [N] of the pool's home cells.
        taught: bool [N], home cells (patients) that this network may see.
        laboratory: str [M] of the pool's foreign cells.
        without: laboratories that this network must not see, hosts of grafted cells included.
        batch: cells of home, foreign and grafted in a batch.
        before: a network that was there before; None for labels alone.
    """

    directory: Path
    labels: Floats
    taught: NDArray[np.bool_]
    laboratory: NDArray[np.str_]
    without: tuple[str, ...] = ()
    batch: tuple[int, int, int] = (96, 44, 20)
    before: Before | None = None
    passes: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = tuple(sorted(self.directory.glob("pass-*")))
        if not found:
            raise DataError(f"{self.directory} holds no pool.")
        object.__setattr__(self, "passes", found)

    def __len__(self) -> int:
        """Home cells of a pass; with ``Recipe.batch`` set to ``batch[0]`` its steps."""
        return int(self.taught.sum()) // self.batch[0] * self.batch[0]

    def batches(self, recipe: Recipe, epoch: int) -> Iterator[tuple[Floats, Floats]]:
        """(float32 [B, S, S, 3], targets float32 [B, 1]) of one epoch."""
        folder = self.passes[epoch % len(self.passes)]
        rng = np.random.default_rng([recipe.seed, epoch])
        steps = len(self) // self.batch[0]
        places, targets = self._home(folder, rng)
        order = {"home": _repeated(places, steps * self.batch[0], rng)}
        order["foreign"] = self._foreign(folder, steps * self.batch[1], rng)
        order["grafted"] = self._grafted(folder, steps * self.batch[2], rng)
        arrays = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in PARTS}
        sick = {"foreign": 0.0, "grafted": 1.0}
        for number in range(steps):
            cells, wanted = [], []
            for part, count in zip(PARTS, self.batch, strict=True):
                own = order[part][number * count : (number + 1) * count]
                cells.append(arrays[part][own])
                wanted.append(targets[own] if part == "home" else np.full(count, sick[part]))
            batch = np.concatenate(cells).astype(np.float32)
            yield batch, np.concatenate(wanted).astype(np.float32)[:, None]

    def _home(self, folder: Path, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
        """(places in the pass that may be shown, shuffled; targets of all places)."""
        index = np.load(folder / "home_index.npy")
        labels, kept = self.labels[index], self.taught[index]
        if self.before is not None:
            taught = 1.0 / (1.0 + np.exp(-self.before.logits(folder, "home").astype(np.float64)))
            kept = kept & (np.abs(taught - labels) < self.before.doubt)
            labels = (1.0 - self.before.share) * labels + self.before.share * taught
        return rng.permutation(np.flatnonzero(kept)), labels.astype(np.float32)

    def _allowed(self, folder: Path, part: str) -> NDArray[np.bool_]:
        index = np.load(folder / f"{part}_index.npy")
        return ~np.isin(self.laboratory[index], self.without)

    def _foreign(self, folder: Path, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        places = np.flatnonzero(self._allowed(folder, "foreign"))
        if self.before is None or not len(places):
            return _repeated(places, count, rng)
        looks = np.clip(self.before.logits(folder, "foreign")[places], -3.0, 5.0)
        edges = np.cumsum(np.exp(self.before.steepness * looks.astype(np.float64)))
        hard = round(self.before.hard * count)
        drawn = places[np.searchsorted(edges, rng.random(hard) * edges[-1])]
        return rng.permutation(np.concatenate([drawn, _repeated(places, count - hard, rng)]))

    def _grafted(self, folder: Path, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        allowed = self._allowed(folder, "grafted")
        if self.before is not None:
            allowed &= self.before.logits(folder, "grafted") > self.before.visible
        return _repeated(np.flatnonzero(allowed), count, rng)


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
