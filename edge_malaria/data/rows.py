"""One labelled cell of a data set, and what its file name tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from edge_malaria.errors import DatasetError
from edge_malaria.records import expect

SPLITS = ("train", "val", "test")
_NIH_NAME = re.compile(r"^(?P<slide>C(?P<number>\d+)[AB]?(?:P(?P<patient>\d+))?.*?)_IMG_")


@dataclass(frozen=True)
class Row:
    """One labelled cell.

    Attributes:
        file: path inside the data set, with forward slashes.
        label: 1 parasitized, 0 uninfected.
        patient_id: None where unknown.
        split: train, val, test, or None.
        fold: 0-based fold of a cross-validation, or None.
        suspect: on a published list of suspect labels.
        slide_key: the slide, or None.
    """

    file: str
    label: int
    patient_id: str | None = None
    split: str | None = None
    fold: int | None = None
    suspect: bool = False
    slide_key: str | None = None

    def __post_init__(self) -> None:
        expect(self.label in (0, 1), "label 0 or 1", self.label)
        expect(self.split is None or self.split in SPLITS, f"split in {SPLITS}", self.split)
        expect(self.fold is None or self.fold >= 0, "fold >= 0", self.fold)

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return PurePosixPath(self.file).name


def parse_nih_name(name: str) -> tuple[str, str] | None:
    """(patient_id, slide_key) from an NIH file name; None where it is no such name.

    Infected patients are ``P<number, 3 digits>``; healthy ones ``H_C<slide>``, because healthy
    slides carry no patient number and each is one patient's.
    """
    match = _NIH_NAME.match(PurePosixPath(name).name)
    if not match:
        return None
    patient = match["patient"]
    owner = f"P{int(patient):03d}" if patient else f"H_C{int(match['number'])}"
    return owner, match["slide"]


def assert_patient_disjoint(rows: Iterable[Row], key: str = "split") -> None:
    """Raises DatasetError where one patient stands in two splits (or folds: ``key="fold"``)."""
    seen: dict[str, object] = {}
    for row in rows:
        part = getattr(row, key)
        if row.patient_id is None or part is None:
            raise DatasetError(f"{row.file} has no patient or no {key}: cells cannot be separated.")
        # Compared without case: D001 in train and d001 in test are one patient.
        if seen.setdefault(row.patient_id.strip().casefold(), part) != part:
            other = seen[row.patient_id.strip().casefold()]
            raise DatasetError(
                f"leak: patient {row.patient_id} is in {key} {other} and {part}. "
                "Make the split by patient: edge-malaria data split DATASET."
            )
