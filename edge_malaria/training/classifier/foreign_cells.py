"""Healthy red cells of other laboratories as the device would cut, scale and show them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_malaria import prepare
from edge_malaria.data.laboratories import SETS, TRAINING_SETS, slide_of, training_files
from edge_malaria.files import read_image, storage_errors
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour, StainScaling
from edge_malaria.records import Image
from edge_malaria.runtime import detect
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.training.classifier.transplant import DENSITY, on_cell

# A healthy cell's mean density after scaling: outside lie white cells, dirt and empty slide.
RECIPIENT_DENSITY = (0.25, 0.65)


@dataclass(frozen=True, eq=False)
class ForeignCells:
    """Malaria-free cells, every one of them a negative.

    Attributes:
        inputs: uint8 [N, S, S, 3], scaled as the contract says.
        laboratory: str [N].
        file: str [N], ``set/picture``.
    """

    inputs: Image
    laboratory: NDArray[np.str_]
    file: NDArray[np.str_]

    def recipients(self, logits: NDArray[np.float32], below: float) -> NDArray[np.bool_]:
        """bool [N]: cells that may receive a transplanted parasite.

        Args:
            logits: of a network that says what already looks parasitized.
            below: the logit that such a cell stays under.
        """
        density = np.array([_mean_density(cell) for cell in self.inputs])
        return (
            (logits < below) & (density > RECIPIENT_DENSITY[0]) & (density < RECIPIENT_DENSITY[1])
        )


def _mean_density(cell: Image) -> float:
    mask = on_cell(cell) > 0
    return float(np.median(DENSITY[cell[mask]], axis=0).mean()) if mask.any() else float("inf")


def cutting_code_sha256() -> str:
    """Of the code that finds, cuts and scales cells: part of the key of what is kept of them."""
    digest = hashlib.sha256()
    for package in (detect, prepare):
        for file in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def slide_inputs(
    pictures: Sequence[tuple[str, Path]], finder: CellFinder, size_px: int, stain: StainScaling
) -> tuple[Image, list[str]]:
    """Counted cells of pictures of one set: (uint8 [N, S, S, 3], the picture of each).

    Args:
        pictures: (slide, file) in the order of taking.
        finder: cuts the cells.
        size_px: side of the inputs, of the contract.
        stain: the contract's colour scaling.
    """
    parts, names, colour, current = [], [], SlideColour(), ""
    for slide, path in pictures:
        if slide != current:
            colour, current = SlideColour(), slide
        image = read_image(path)
        cells = [cell for cell in finder.find(image) if cell.counted]
        parts.append(field_inputs(image, cells, Preparation(size_px, stain=stain), colour))
        names += [path.name] * len(cells)
    empty = np.zeros((0, size_px, size_px, 3), np.uint8)
    return (np.concatenate(parts) if parts else empty), names


def training_cells(
    fields: Path,
    finder: CellFinder,
    size_px: int,
    stain: StainScaling,
    cache: Path,
    key: str,
    sets: Sequence[str] = TRAINING_SETS,
    step: Callable[[str], None] = lambda name: None,
) -> ForeignCells:
    """Cells of the fitting thirds of sets that may train what ships; kept in ``cache``.

    Args:
        fields: the folder of field sets.
        finder: cuts the cells.
        size_px: see ``slide_inputs``.
        stain: see ``slide_inputs``.
        cache: a directory.
        key: says which finder cut them (its file's hash).
        sets: of ``TRAINING_SETS``.
        step: called with each set's name when it is done.

    Raises:
        UsageError: a set that must not train what ships.
        DatasetError, ImageError: a set is missing or damaged.
    """
    parts, laboratories, files = [], [], []
    for name in sets:
        pictures = [(slide_of(name, p.name), p) for p in training_files(fields, name)]
        stored = cache / f"cells-{name}-{_digest(pictures, size_px, stain, key)}.npz"
        if not stored.is_file():
            inputs, names = slide_inputs(pictures, finder, size_px, stain)
            _store(stored, inputs, names)
        with np.load(stored) as held:
            parts.append(held["inputs"])
            files += [f"{name}/{picture}" for picture in held["names"].tolist()]
        laboratories += [SETS[name].laboratory] * len(parts[-1])
        step(name)
    return ForeignCells(np.concatenate(parts), np.array(laboratories), np.array(files))


def _digest(
    pictures: Sequence[tuple[str, Path]], size_px: int, stain: StainScaling, key: str
) -> str:
    names = [[slide, path.name, path.stat().st_size] for slide, path in pictures]
    text = json.dumps([names, size_px, stain.as_json(), key, cutting_code_sha256()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _store(path: Path, inputs: Image, names: Sequence[str]) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp.npz")
        np.savez(temporary, inputs=inputs, names=np.array(names, dtype=np.str_))
        os.replace(temporary, path)
