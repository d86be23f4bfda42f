"""Network inputs for training: real cells read through preprocess.py, cached, split by patient.

Three renderings of a cell reach the network in the field: the crop at its original size, at half
size, and a copy somebody shrank to 50 x 50 before. Training sees them all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.data.stains import SlideTables
from edge_malaria.errors import DatasetError
from edge_malaria.files import storage_errors
from edge_malaria.prepare.contract import Preparation, Target, preparation
from edge_malaria.prepare.preprocess import CONTRACT_STEPS, network_input
from edge_malaria.prepare.stain import STEP, StainScaling
from edge_malaria.records import Image, expect

Rendering = Literal["full", "half", "small"]
RENDERINGS: tuple[Rendering, ...] = ("full", "half", "small")
SMALL_SIDE_PX = 50


@dataclass(frozen=True, eq=False)
class CellSet:
    """Cells ready for the network.

    Attributes:
        inputs: uint8 [N, S, S, 3] RGB, the cell at its original size.
        labels: int64 [N], 1 parasitized.
        rows: the N rows, in the same order.
    """

    inputs: Image
    labels: NDArray[np.int64]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        expect(len(self.inputs) == len(self.rows), f"{len(self.rows)} inputs", len(self.inputs))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def patients(self) -> NDArray[np.str_]:
        """Patient ids, [N]."""
        return np.array([row.patient_id for row in self.rows], dtype=np.str_)

    @property
    def suspect(self) -> NDArray[np.bool_]:
        """Whose label is suspect, [N]."""
        return np.array([row.suspect for row in self.rows], dtype=np.bool_)

    def take(self, chosen: NDArray[np.bool_]) -> CellSet:
        """The cells where ``chosen`` (bool [N]) holds."""
        rows = tuple(row for row, keep in zip(self.rows, chosen, strict=True) if keep)
        return CellSet(self.inputs[chosen], self.labels[chosen], rows)


def render(crop: Image, target: Target, rendering: Rendering, table: Image | None = None) -> Image:
    """One crop as the network sees it after the detour that ``rendering`` names.

    Args:
        crop: uint8 [H, W, 3] RGB, background black.
        target: the network's input side, or the whole way of preparing.
        rendering: full, half (both sides halved first) or small (50 x 50 first).
        table: the slide's colour scaling; None for none.
    """
    if rendering == "half":
        height, width = (max(1, side // 2) for side in crop.shape[:2])
        crop = np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    elif rendering == "small":
        shape = (SMALL_SIDE_PX, SMALL_SIDE_PX)
        crop = np.asarray(cv2.resize(crop, shape, interpolation=cv2.INTER_AREA), np.uint8)
    return network_input(crop, target, table=table)


def default_cache() -> Path:
    """Where rendered inputs are kept between runs: $XDG_CACHE_HOME/edge-malaria."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "edge-malaria"


def _cache_key(dataset: Dataset, how: Preparation, renderings: Sequence[Rendering]) -> str:
    status = dataset.path.stat()
    stamp: list[object] = [str(dataset.path.resolve()), status.st_size, status.st_mtime_ns]
    # The rounding is named because inputs rendered with OpenCV's own INTER_AREA may be stored.
    steps = [*CONTRACT_STEPS, "halves-to-even"]
    if how.stain is not None:
        steps.append(f"{STEP} {how.stain.home_rgb}")
    if (how.resize, how.mask) != ("area", "black"):
        steps.append(f"{how.resize} {how.mask}")
    if not dataset.path.is_file() or dataset.path.suffix.lower() == ".csv":
        # A folder's own time says nothing of the files below it.
        stamp += dataset.stamps()
    recipe = [how.size_px, list(renderings), steps, [row.file for row in dataset.rows]]
    return hashlib.sha256(json.dumps([stamp, recipe]).encode()).hexdigest()[:24]


def load_renderings(
    dataset: Dataset,
    target: Target,
    renderings: Sequence[Rendering] = ("full",),
    *,
    cache: Path | None = None,
    stain: StainScaling | None = None,
    step: Callable[[int], None] = lambda done: None,
) -> dict[Rendering, CellSet]:
    """Reads every row of ``dataset`` once and renders it.

    Args:
        dataset: the rows wanted, and no others: each is opened.
        target: the network's input side, or the whole way of preparing.
        renderings: which detours.
        cache: a directory for the result; None reads the pictures again each time.
        stain: each slide of ``dataset`` is scaled by itself; None for what ``target`` says.
        step: called with the number of cells just done.

    Raises:
        ImageError: a picture is damaged.
    """
    how = preparation(target)
    how = how if stain is None else replace(how, stain=stain)
    shape = (len(renderings), len(dataset.rows), how.size_px, how.size_px, 3)
    stored = None
    if cache is not None:
        stored = cache / f"inputs-{_cache_key(dataset, how, renderings)}.npy"
    if stored is not None and stored.is_file():
        stack = np.load(stored)
    else:
        stack = np.zeros(shape, np.uint8)
        tables = SlideTables(dataset, how)
        for index, row in enumerate(dataset.rows):
            crop, table = dataset.read(row), tables.of(row)
            for place, rendering in enumerate(renderings):
                stack[place, index] = render(crop, how, rendering, table)
            step(1)
        if stored is not None:
            _store(stored, stack)
    labels = np.array([row.label for row in dataset.rows], np.int64)
    return {
        name: CellSet(stack[place], labels, dataset.rows) for place, name in enumerate(renderings)
    }


def _store(path: Path, stack: Image) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as out:
            np.save(out, stack)
        os.replace(temporary, path)


def fitting_rows(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """(train, val) of a data set split by patient; test rows are not even selected.

    Raises:
        DatasetError: no patients, no splits, a patient in two splits, or an empty split.
    """
    if not dataset.has_patients and not dataset.unknown_patients:
        raise DatasetError(
            f"{dataset.path} has no patients, so cells of one patient could stand on both sides. "
            "Give --patients FILE (edge-malaria data split writes one), or say --unknown-patients."
        )
    if not dataset.has_splits:
        raise DatasetError(
            f"{dataset.path} has no splits. Write them with: edge-malaria data split DATASET."
        )
    dataset.expect_apart()
    return dataset.select("train"), dataset.select("val")


def origin(cells: CellSet) -> dict[str, str]:
    """What a model's provenance says where the patients of its cells are unknown; else nothing."""
    return {"patients": "unknown"} if any(row.patient_id is None for row in cells.rows) else {}
