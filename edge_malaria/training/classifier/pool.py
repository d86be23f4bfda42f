"""The training pool: augmented cells of the home laboratory and of others, on disk.

Three parts: ``home`` (labelled), ``foreign`` (cells of malaria-free laboratories, all healthy) and
``transplanted`` (foreign cells with a parasite of a home training patient, see ``transplant``).

Drawing them costs more than learning from them. A pool is drawn once, pass by pass, and every
network learns from the same one, those that leave out a laboratory or patients included
(``pool_batches`` does the leaving out). A pass is a pure function of (cells, plan, pass); an
interrupted pool goes on, one of other cells or another plan is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DataError, DatasetError
from edge_malaria.files import storage_errors, write_json
from edge_malaria.records import Image
from edge_malaria.training.classifier.artefacts import Platelet, with_artefact
from edge_malaria.training.classifier.augment import augment
from edge_malaria.training.classifier.teachers import SEEN_AND_UNSEEN
from edge_malaria.training.classifier.transplant import Parasite, transplant, with_contrast

PARTS = ("home", "foreign", "transplanted", "artefacts")
_CHUNK = 500


@dataclass(frozen=True)
class PoolPlan:
    """How a pool is drawn.

    Attributes:
        passes: over the home cells.
        foreign, transplanted: cells of other laboratories, without and with a parasite, for each
            home cell.
        artefacts: healthy cells with a platelet or drawn spots on them, for each home cell.
        home_artefacts: share of those that are home cells.
        hard_negatives: share of the foreign cells drawn in proportion to ``PoolCells.weight``, the
            rest evenly.
        contrast: share of cells whose contrast is changed; of transplanted ones a quarter of
            that, because their contrast was drawn already.
        other_renderings: share of home cells from the half-size and 50 x 50 renderings.
        seed: of everything.
    """

    passes: int = 3
    foreign: float = 0.45
    transplanted: float = 0.36
    artefacts: float = 0.36
    home_artefacts: float = 0.3
    hard_negatives: float = 0.4
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
        recipients: bool [M], foreign cells that may receive a parasite.
        parasites: of training patients.
        plain: bool [N], home cells of training patients that may receive an artefact.
        platelets: of the fitting thirds of other laboratories.
    """

    home: Image
    foreign: Image
    laboratory: NDArray[np.str_]
    weight: NDArray[np.float64]
    recipients: NDArray[np.bool_]
    parasites: Sequence[Parasite]
    plain: NDArray[np.bool_]
    platelets: Sequence[Platelet]

    def __post_init__(self) -> None:
        if not len(self.parasites) or not self.recipients.any():
            raise DatasetError("a pool needs parasites and foreign cells that may receive them.")
        if not len(self.platelets) or not self.plain.any():
            raise DatasetError("a pool needs platelets and healthy home cells.")


class _Laboratories:
    """Draws foreign cells: laboratories by the root of their numbers, so that none drowns."""

    def __init__(self, cells: PoolCells, plan: PoolPlan) -> None:
        self.cells, self.plan = cells, plan
        self.names, counts = np.unique(cells.laboratory, return_counts=True)
        self.chance = np.sqrt(counts) / np.sqrt(counts).sum()
        self.members = [np.flatnonzero(cells.laboratory == name) for name in self.names]
        self.recipients = [own[cells.recipients[own]] for own in self.members]
        self.edges = [np.cumsum(cells.weight[own]) for own in self.members]

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of ``count`` foreign cells."""
        chosen = []
        for place in rng.choice(len(self.names), count, p=self.chance):
            own, edges = self.members[place], self.edges[place]
            if rng.random() < self.plan.hard_negatives:
                chosen.append(own[np.searchsorted(edges, rng.random() * edges[-1])])
            else:
                chosen.append(own[rng.integers(len(own))])
        return np.array(chosen, np.int64)

    def transplanted(self, count: int, rng: np.random.Generator) -> tuple[Image, NDArray[np.int64]]:
        """(uint8 [count, S, S, 3] with parasites, the recipients' indices)."""
        made, recipients = [], []
        for place in rng.choice(len(self.names), count, p=self.chance):
            for _ in range(50):
                recipient = int(rng.choice(self.recipients[place]))
                parasite = self.cells.parasites[int(rng.integers(len(self.cells.parasites)))]
                cell = transplant(self.cells.foreign[recipient], parasite, rng)
                if cell is not None:
                    made.append(cell)
                    recipients.append(recipient)
                    break
            else:
                raise DatasetError(f"{self.names[place]}: no parasite fits into its cells.")
        return np.stack(made), np.array(recipients, np.int64)

    def with_artefacts(
        self, count: int, rng: np.random.Generator
    ) -> tuple[Image, NDArray[np.int64], NDArray[np.str_]]:
        """Cells, whose they are (home cells as -1 - index), the platelets' laboratories."""
        made, recipients, sources = [], [], []
        home = np.flatnonzero(self.cells.plain)
        places = rng.choice(len(self.names), count, p=self.chance)
        for place, at_home in zip(
            places, rng.random(count) < self.plan.home_artefacts, strict=True
        ):
            for _ in range(50):
                index = int(rng.choice(home if at_home else self.members[place]))
                cell = self.cells.home[0, index] if at_home else self.cells.foreign[index]
                laid = with_artefact(cell, self.cells.platelets, rng)
                if laid is not None:
                    made.append(laid[0])
                    recipients.append(-1 - index if at_home else index)
                    sources.append(laid[1])
                    break
            else:
                raise DatasetError(f"{self.names[place]}: no artefact fits on its cells.")
        return np.stack(made), np.array(recipients, np.int64), np.array(sources)


def draw_pool(
    cells: PoolCells,
    plan: PoolPlan,
    directory: Path,
    step: Callable[[int], None] = lambda done: None,
) -> None:
    """Draws what ``directory`` lacks of a pool; ``step`` is called with each finished pass.

    Raises:
        DataError: the directory holds a pool of other cells or another plan.
        StorageError: the directory is not writable.
    """
    _expect_same(cells, plan, directory)
    laboratories = _Laboratories(cells, plan)
    for number in range(plan.passes):
        target = directory / f"pass-{number:03d}"
        if not target.is_dir():
            rng = np.random.default_rng([plan.seed, number])
            _store(_drawn(cells, laboratories, plan, rng), target)
        step(number + 1)


def _expect_same(cells: PoolCells, plan: PoolPlan, directory: Path) -> None:
    """Places in stored passes point into these very cells: others would get their labels."""
    stamp = directory / "pool.json"
    digest = hashlib.sha256()
    for array in (cells.home, cells.foreign, cells.laboratory, cells.weight, cells.recipients):
        digest.update(np.ascontiguousarray(array).tobytes())
    # How many passes there are changes none of them.
    settings = {**asdict(plan), "passes": None}
    wanted = {"cells_sha256": digest.hexdigest(), "plan": settings}
    if not stamp.is_file():
        if any(directory.glob("pass-*")):
            raise DataError(f"{directory} holds passes, but no pool.json that says of what.")
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        write_json(stamp, wanted)
    elif json.loads(stamp.read_text(encoding="utf-8")) != wanted:
        raise DataError(
            f"{directory} was drawn from other cells or by another plan. Remove it, or choose "
            "another directory."
        )


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
    made, recipients = laboratories.transplanted(round(plan.transplanted * len(order)), rng)
    transplanted = _changed(lambda part: made[part], len(made), plan.contrast / 4, rng)
    held, receivers, sources = laboratories.with_artefacts(round(plan.artefacts * len(order)), rng)
    artefacts = _changed(lambda part: held[part], len(held), plan.contrast / 4, rng)
    return {
        "home": home,
        "foreign": foreign,
        "transplanted": transplanted,
        "artefacts": artefacts,
        "home_index": order,
        "foreign_index": chosen,
        "transplanted_index": recipients,
        "artefacts_index": receivers,
        "artefacts_laboratory": sources,
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
