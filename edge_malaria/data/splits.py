"""Splits a data set by patient: train, val and test, and the folds of a cross-validation.

Cells of one patient share stain, light and microscope; a split by cell leaks all three. Patients
are dealt out whole, the largest first, each to the part that misses its cells most.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.rows import SPLITS, Row, assert_patient_disjoint, parse_nih_name
from edge_malaria.data.tables import Patients, patient_id, stem_of
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.files import is_image, write_text

# Shares of the cells in train, val, test.
SHARES = (0.7, 0.1, 0.2)
FOLDS = 5
COLUMNS = (
    "file",
    "class",
    "patient_id",
    "slide_key",
    "field_id",
    "split",
    "fold",
    "suspect_label",
)
_CLASS_NAMES = {1: "Parasitized", 0: "Uninfected"}


def split_by_patient(
    rows: Sequence[Row],
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    folds: int = FOLDS,
) -> tuple[Row, ...]:
    """Gives every row a split and a fold; no patient is in two.

    Args:
        rows: with patient ids.
        seed: of the order among patients; the same seed gives the same split.
        shares: of train, val and test.
        folds: how many, at least 2.

    Raises:
        DatasetError: a row without a patient, or fewer patients than parts.
    """
    nameless = [row.file for row in rows if row.patient_id is None]
    if nameless:
        raise DatasetError(
            f"{len(nameless)} of {len(rows)} files have no patient (first: {nameless[0]}). "
            "Expected NIH file names such as C33P1thinF_IMG_... Or read them from the names with "
            "--patients-from REGEX, give --mapping CSV, or fill in a table: --template."
        )
    patients = _cells_by_patient(rows)
    if len(patients) < max(folds, len(shares)):
        raise DatasetError(
            f"{len(patients)} patients cannot be split: expected at least "
            f"{max(folds, len(shares))} (train, val and test, and {folds} folds)."
        )
    split_of = _deal(patients, np.asarray(shares, np.float64), seed)
    fold_of = _deal(patients, np.full(folds, 1.0 / folds), seed + 1)
    done = tuple(
        replace(row, split=SPLITS[split_of[row.patient_id]], fold=fold_of[row.patient_id])
        for row in rows
        if row.patient_id is not None
    )
    assert_patient_disjoint(done, "split")
    assert_patient_disjoint(done, "fold")
    return done


def _cells_by_patient(rows: Sequence[Row]) -> dict[str, NDArray[np.float64]]:
    """Per patient the number of [parasitized, uninfected of an infected, of a healthy] cells."""
    infected = {row.patient_id for row in rows if row.label == 1}
    counts: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    for row in rows:
        stratum = 0 if row.label == 1 else 1 if row.patient_id in infected else 2
        counts[str(row.patient_id)][stratum] += 1
    return dict(sorted(counts.items()))


def _deal(
    patients: Mapping[str, NDArray[np.float64]], shares: NDArray[np.float64], seed: int
) -> dict[str, int]:
    """Patient -> part, so that every part comes near its share of every stratum."""
    total = np.maximum(sum(patients.values(), np.zeros(3)), 1.0)
    rng = np.random.default_rng(seed)
    # A size that varies by a fifth shuffles patients of like size: other seeds, other splits.
    order = sorted(
        patients, key=lambda p: -float((patients[p] / total).sum()) * (0.8 + 0.4 * rng.random())
    )
    have = np.zeros((len(shares), 3))
    sizes = np.zeros(len(shares), int)
    part_of: dict[str, int] = {}
    for position, patient in enumerate(order):
        left = len(order) - position
        empty = np.flatnonzero(sizes == 0)
        weight = patients[patient] / total
        missing = (shares[:, None] - have / total) / shares[:, None]
        gain = missing @ weight
        candidates = empty if len(empty) >= left else np.arange(len(shares))
        part = int(candidates[np.argmax(gain[candidates])])
        have[part] += patients[patient]
        sizes[part] += 1
        part_of[patient] = part
    return part_of


def split_by_cell(
    rows: Sequence[Row], seed: int = 0, shares: Sequence[float] = SHARES
) -> tuple[Row, ...]:
    """Gives every row a split where patients are unknown: each class dealt out by lot.

    Cells of one patient may stand in two splits, so figures of such a split are too good. The
    first cells dealt make sure that val and test have both classes.

    Raises:
        DatasetError: fewer than three cells of a class.
    """
    part_of: dict[str, str] = {}
    for label in (1, 0):
        own = sorted(row.file for row in rows if row.label == label)
        if len(own) < len(SPLITS):
            raise DatasetError(
                f"{len(own)} cells of a class cannot be split: expected at least {len(SPLITS)}."
            )
        order = np.random.default_rng([seed, label]).permutation(len(own))
        later = [max(1, round(len(own) * share)) for share in shares[1:]]
        ends = np.cumsum([len(own) - sum(later), *later])
        for place, index in enumerate(order):
            part_of[own[int(index)]] = SPLITS[int(np.searchsorted(ends, place, side="right"))]
    return tuple(replace(row, split=part_of[row.file], fold=None) for row in rows)


def patients_from(rows: Sequence[Row], pattern: str) -> tuple[tuple[Row, ...], list[str]]:
    """Rows with the patients that a regular expression finds in their paths; and warnings.

    Args:
        rows: of a data set.
        pattern: searched for in the path inside the data set; its group ``patient``, else its first
            group, else the whole match is the id.

    Raises:
        UsageError: no regular expression.
        DatasetError: a path in which it finds nothing.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--patients-from {pattern!r} is no regular expression ({error})."
        ) from error
    group: str | int = 1 if compiled.groups else 0
    group = "patient" if "patient" in compiled.groupindex else group
    names, done, missing = Patients(), [], []
    for row in rows:
        match = compiled.search(row.file)
        if match is None or not (match[group] or "").strip():
            missing.append(row.file)
            continue
        done.append(replace(row, patient_id=names(match[group], row.file)))
    if missing:
        raise DatasetError(
            f"--patients-from {pattern!r} finds no patient in {len(missing)} of {len(rows)} paths "
            f"(first: {missing[0]})."
        )
    return tuple(done), names.warnings()


def read_mapping(paths: Sequence[Path]) -> dict[str, str]:
    """File stem -> patient from the official ``patientid_cellmapping_*.csv`` files.

    In each line one field is an image's name and another the patient; other lines are headers.

    Raises:
        DatasetError: unreadable, or no line of that form.
    """
    mapping: dict[str, str] = {}
    known: dict[str, str] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
            lines = list(csv.reader(io.StringIO(text, newline="")))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"cannot read the mapping {path}: {error}.") from error
        found = 0
        for line in lines:
            fields = [text.strip() for text in line if text.strip()]
            images = [text for text in fields if is_image(text)]
            others = [text for text in fields if not is_image(text)]
            if len(images) == 1 and others:
                stem = stem_of(images[0])
                owner = _patient_name(others[0], f"{path}, {images[0]}")
                owner = known.setdefault(owner.casefold(), owner)
                if mapping.setdefault(stem, owner) != owner:
                    raise DatasetError(
                        f"{path}: {images[0]} has two patients, {mapping[stem]} and {owner}."
                    )
                found += 1
        if not found:
            raise DatasetError(
                f"{path}: no line names an image and its patient. Expected lines such as "
                "C33P1thinF_IMG_20150619_114756a_cell_179.png,C33P1."
            )
    return mapping


def _patient_name(text: str, where: str) -> str:
    # A slide's name stands for its patient: the same person can have two slides.
    parsed = parse_nih_name(f"{text}_IMG_")
    return parsed[0] if parsed else patient_id(text, where)


def apply_mapping(rows: Sequence[Row], mapping: Mapping[str, str]) -> tuple[Row, ...]:
    """Rows with the patients of ``mapping``.

    Raises:
        DatasetError: a file is not in it.
    """
    missing = [row.file for row in rows if stem_of(row.file) not in mapping]
    if missing:
        raise DatasetError(
            f"the mapping does not name {len(missing)} of {len(rows)} files (first: {missing[0]})."
        )
    return tuple(replace(row, patient_id=mapping[stem_of(row.file)]) for row in rows)


def patients_table(rows: Sequence[Row]) -> str:
    """The text of a patients.csv; blank ids where patients are unknown, to be filled in."""
    out = io.StringIO()
    counted = Counter((row.name, row.label) for row in rows)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        stem = PurePosixPath(row.file).stem
        field_id = stem.rpartition("_cell_")[0]
        writer.writerow(
            (
                row.name if counted[(row.name, row.label)] == 1 else row.file,
                _CLASS_NAMES[row.label],
                row.patient_id or "",
                row.slide_key or "",
                field_id,
                row.split or "",
                "" if row.fold is None else row.fold,
                int(row.suspect),
            )
        )
    return out.getvalue()


def write_patients(path: Path, rows: Sequence[Row]) -> None:
    """Writes a patients.csv whole or not at all."""
    write_text(path, patients_table(rows))


def summary(rows: Sequence[Row]) -> list[tuple[str, int, int, int]]:
    """Per split: name, patients, parasitized cells, uninfected cells."""
    table = []
    for split in SPLITS:
        part = [row for row in rows if row.split == split]
        sick = sum(row.label for row in part)
        table.append((split, len({row.patient_id for row in part}), sick, len(part) - sick))
    return table
