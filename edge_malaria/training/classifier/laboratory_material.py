"""What fine-tuning on other laboratories' cells is made from: cells, a pool, a network's opinions.

Every cell is shown in the home laboratory's stain (``prepare/stain.py``). Test rows, report thirds
and sets that only report are never opened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.prepare.stain import StainScaling
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.training.classifier.artefacts import Platelet, platelets
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    Rendering,
    default_cache,
    load_renderings,
)
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.foreign_cells import ForeignCells, training_cells
from edge_malaria.training.classifier.pool import PoolCells, PoolPlan, draw_pool
from edge_malaria.training.classifier.pool_batches import PoolLogits
from edge_malaria.training.classifier.transplant import extract
from edge_malaria.training.pruning.pruned import load_prunable

STAIN = StainScaling()
SIZE_PX = 48
# A cell that receives a parasite must look healthy to the shipped network: below its balanced
# point.
RECIPIENT_LOGIT = 0.8

Log = Callable[[str], None]


class Material:
    """Read when it is first asked for.

    Args:
        data: the folder with ``nih`` and ``fields``.
        runs: what is drawn and cut is kept here.
        start: the folder of the float networks that fine-tuning starts from.
        log: takes a line of progress.
    """

    def __init__(self, data: Path, runs: Path, start: Path, log: Log = lambda line: None) -> None:
        self.data, self.runs, self.start, self.log = data, runs, start, log
        self.dataset: Dataset = open_dataset(data / "nih" / "cell_images.zip")

    @cached_property
    def home(self) -> dict[Rendering, CellSet]:
        """Train and val cells in every rendering; test rows are not even selected."""
        part = self.dataset.select(("train", "val"))
        return load_renderings(part, SIZE_PX, RENDERINGS, cache=default_cache(), stain=STAIN)

    @cached_property
    def foreign(self) -> ForeignCells:
        """Other laboratories' healthy cells, cut by the shipped finder."""
        bundle = read_bundle(shipped_bundle())
        assert bundle.finder is not None
        key = bundle.finder.file("int8", "litert").sha256
        return training_cells(
            self.data / "fields",
            default_finder(bundle),
            SIZE_PX,
            STAIN,
            self.runs,
            key,
            step=self.log,
        )

    @cached_property
    def platelets(self) -> list[Platelet]:
        """Platelets of other laboratories, cut by their boxes."""
        finder = default_finder(read_bundle(shipped_bundle()))
        return platelets(self.data / "fields", finder, SIZE_PX, STAIN)

    @cached_property
    def reference(self) -> Any:
        """The float network ``default`` that is there already."""
        return load_prunable(self.start / "default.keras")

    def split(self, name: str) -> NDArray[np.bool_]:
        """bool [N] of ``home``."""
        return np.array([row.split == name for row in self.home["full"].rows])

    @cached_property
    def val(self) -> CellSet:
        """Validation cells."""
        return self.home["full"].take(self.split("val"))

    def draw(self, plan: PoolPlan) -> Path:
        """The pool's directory, drawn as far as it is not there."""
        directory = self.runs / "pool"
        draw_pool(self._pool_cells(), plan, directory, lambda done: self.log(f"pool pass {done}"))
        return directory

    def _pool_cells(self) -> PoolCells:
        full, train = self.home["full"], self.split("train")
        chosen = np.flatnonzero(train & (full.labels == 1) & ~full.suspect)
        parasites = [found for i in chosen if (found := extract(full.inputs[i])) is not None]
        logits = predict(self.reference, self.foreign.inputs)
        weight = 1.0 / (1.0 + np.exp(-(logits.astype(np.float64) + 1.5) / 1.2)) + 0.02
        return PoolCells(
            np.stack([self.home[name].inputs for name in RENDERINGS]),
            self.foreign.inputs,
            self.foreign.laboratory,
            weight,
            self.foreign.recipients(logits, RECIPIENT_LOGIT),
            parasites,
            train & (full.labels == 0) & ~full.suspect,
            self.platelets,
        )


def stored_logits(network: Any, key: str) -> PoolLogits:
    """A network's logits of a part of a pass, kept beside it as ``logits-<key>-<part>.npy``.

    They are those of the moment when a pass is first asked for, also where the network is trained
    in between.
    """

    def logits(folder: Path, part: str) -> NDArray[np.float32]:
        stored = folder / f"logits-{key}-{part}.npy"
        if not stored.is_file():
            np.save(stored, predict(network, np.load(folder / f"{part}.npy", mmap_mode="r")))
        return np.asarray(np.load(stored), np.float32)

    return logits
