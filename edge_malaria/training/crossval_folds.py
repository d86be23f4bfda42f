"""Which fold each cell is in: by patient, or by cell to show how much that leaks.

Cells of one patient share stain, light and microscope. With folds made of cells a network is asked
about patients that it was fitted to; the difference between both ways is the leak.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from edge_malaria.dataset import Dataset, Row
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.splits import split_by_patient

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
