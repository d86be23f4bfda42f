"""Which fold each cell is in: by patient, or by cell to show how much that leaks.

Cells of one patient share stain, light and microscope. With folds made of cells a network is asked
about patients that it was fitted to; the difference between both ways is the leak.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.dataset import Dataset, Row, assert_patient_disjoint
from edge_malaria.data.splits import split_by_patient
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.training.classifier.cells import CellSet

By = Literal["patient", "cell"]


def with_folds(
    dataset: Dataset, by: By = "patient", count: int | None = None, seed: int = 0
) -> Dataset:
    """``dataset`` with a fold in every row; the rows' order stays.

    Args:
        dataset: rows; by patient they need patients.
        by: ``patient``: the folds of its patients.csv where there are ``count`` of them (or
            ``count`` is None), else patients dealt out whole, the largest first, to the fold that
            misses their kinds of cells most. ``cell``: each class shuffled and dealt out.
        count: how many folds; None: as many as the data set names, 5 where it names none.
        seed: of the dealing.

    Raises:
        DatasetError: no patients, fewer patients than folds, or no folds and none asked for.
        UsageError: ``count`` < 2.
    """
    named = {row.fold for row in dataset.rows}
    known = len(named) if None not in named and len(named) > 1 else None
    if count is not None and count < 2:
        raise UsageError(f"expected at least 2 folds, got {count}.")
    if by == "cell":
        return dataclasses.replace(
            dataset, rows=_dealt_cells(dataset.rows, count or known or 5, seed)
        )
    if not dataset.has_patients:
        raise DatasetError(
            f"{dataset.path} has no patients: cross-validation would leak. Give --patients FILE."
        )
    if count is None and known is None:
        raise DatasetError(
            f"{dataset.path} has no folds. Write them with: edge-malaria data split DATASET, "
            "or ask for some with --folds N."
        )
    if count is None or count == known:
        return dataset
    dealt = split_by_patient(dataset.rows, seed, folds=count)
    rows = tuple(
        dataclasses.replace(row, fold=new.fold)
        for row, new in zip(dataset.rows, dealt, strict=True)
    )
    return dataclasses.replace(dataset, rows=rows)


def _dealt_cells(rows: tuple[Row, ...], count: int, seed: int) -> tuple[Row, ...]:
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(rows), np.int64)
    labels = np.array([row.label for row in rows])
    for label in (0, 1):
        own = rng.permutation(np.flatnonzero(labels == label))
        fold[own] = np.arange(len(own)) % count
    return tuple(
        dataclasses.replace(row, fold=int(place)) for row, place in zip(rows, fold, strict=True)
    )


INNER_SHARE = 0.1


def is_inner(patient: str, fold: int, share: float = INNER_SHARE) -> bool:
    """Whether a patient (or cell) outside ``fold`` is held back; fixed by its name."""
    digest = hashlib.sha256(f"{fold}:{patient}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def fold_masks(cells: CellSet, fold: int, by: By = "patient") -> dict[str, NDArray[np.bool_]]:
    """bool [N] each for ``train``, ``inner`` and ``held_out``; no patient (or cell) in two of them.

    Raises:
        DatasetError: no folds, a patient in two folds, or a part without both classes.
    """
    if by == "patient":
        assert_patient_disjoint(cells.rows, key="fold")
    held_out = np.array([row.fold == fold for row in cells.rows])
    names = [row.file if by == "cell" else str(row.patient_id) for row in cells.rows]
    inner = np.array([is_inner(name, fold) for name in names]) & ~held_out
    masks = {"train": ~held_out & ~inner, "inner": inner, "held_out": held_out}
    for name, mask in masks.items():
        if len(set(cells.labels[mask].tolist())) < 2:
            raise DatasetError(
                f"fold {fold}: its {name} patients do not have cells of both classes."
            )
    return masks


def folds_of(dataset: Dataset) -> list[int]:
    """The folds that the data set names.

    Raises:
        DatasetError: rows without patient or fold.
    """
    if not dataset.has_patients:
        raise DatasetError(
            f"{dataset.path} has no patients: cross-validation would leak. Give --patients FILE."
        )
    found = {row.fold for row in dataset.rows}
    if None in found or len(found) < 2:
        raise DatasetError(
            f"{dataset.path} has no folds. Write them with: edge-malaria data split DATASET."
        )
    return sorted(fold for fold in found if fold is not None)
