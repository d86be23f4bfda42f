"""Which cells set int8 ranges where a model carries none: train patients only, and recorded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.data.stains import SlideTables
from edge_malaria.errors import DatasetError
from edge_malaria.prepare.contract import Target
from edge_malaria.records import Image

# Ranges of a 30 k-parameter network are stable from about 200 cells on; 512 costs a second.
CALIBRATION_CELLS = 512


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration cells.

    Attributes:
        inputs: uint8 [N, S, S, 3].
        files: their names in the data set, in order; recorded in the bundle.
    """

    inputs: Image
    files: tuple[str, ...]


def choose_calibration(
    dataset: Dataset, size_px: Target, count: int = CALIBRATION_CELLS, seed: int = 0
) -> Calibration:
    """Draws cells from train patients, patients in turn and both classes, so that all stains occur.

    Raises:
        DatasetError: no patients, no splits, or a patient in two splits.
    """
    if not dataset.has_patients and not dataset.unknown_patients:
        raise DatasetError(
            f"{dataset.path} has no patients: calibration cells must come from train patients "
            "only. Add a patients.csv (edge-malaria data split DATASET), or say --unknown-patients."
        )
    if not dataset.has_splits:
        raise DatasetError(f"{dataset.path} has no splits: run edge-malaria data split DATASET.")
    dataset.expect_apart()
    train = dataset.select("train")
    rows, tables = _in_turn(train.rows, count, seed), SlideTables(train, size_px)
    inputs = np.stack([tables.input(row) for row in rows])
    return Calibration(inputs, tuple(row.file for row in rows))


def _in_turn(rows: tuple[Row, ...], count: int, seed: int) -> list[Row]:
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row.patient_id or "", row.label)].append(row)
    rng = np.random.default_rng(seed)
    queues = [list(rng.permutation(len(group))) for group in groups.values()]
    members = list(groups.values())
    chosen: list[Row] = []
    while len(chosen) < count and any(queues):
        for queue, group in zip(queues, members, strict=True):
            if queue and len(chosen) < count:
                chosen.append(group[int(queue.pop())])
    return chosen
