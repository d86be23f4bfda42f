"""The same picture twice in a data set, found by its bytes.

A copy inside the copy (Kaggle's ``cell_images/cell_images``) counts every cell twice, and a cell
that lies in train and in test makes every figure too good.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from edge_malaria.data.rows import Row
from edge_malaria.data.storage import ZIP_ERRORS, Storage
from edge_malaria.errors import DatasetError, ImageError
from edge_malaria.files import decode_image

Twins = tuple[tuple[str, str], ...]


def count_once(storage: Storage, rows: Sequence[Row]) -> tuple[tuple[Row, ...], list[str], Twins]:
    """Leaves out further copies of a cell.

    A copy is left out where its class, patient and split are those of the first. Where they are
    not, both stay and a warning says so: which of the two is wrong cannot be told here.

    Args:
        storage: where the pictures lie.
        rows: with classes, patients and splits.

    Returns:
        (rows, warnings, pairs of files that are one picture in two splits).
    """
    by_file = {row.file: row for row in rows}
    dropped: dict[str, str] = {}
    classes: list[tuple[str, str]] = []
    patients: list[tuple[str, str]] = []
    twins: list[tuple[str, str]] = []
    for group in _same_bytes(storage, [row.file for row in rows]):
        first, *others = sorted(group, key=lambda name: (name.count("/"), name))
        kept = by_file[first]
        for name in others:
            row = by_file[name]
            if row.split != kept.split:
                twins.append((first, name))
            if row.label != kept.label:
                classes.append((first, name))
            elif row.patient_id != kept.patient_id:
                patients.append((first, name))
            elif row.split == kept.split:
                dropped[name] = first
    warnings = []
    if dropped:
        name, first = next(iter(dropped.items()))
        warnings.append(
            f"{len(dropped)} of {len(rows)} cells are copies of another and are counted once "
            f"(first: {name} is {first})."
        )
    for pairs, what in ((classes, "stand in both classes"), (patients, "have two patients")):
        if pairs:
            a, b = pairs[0]
            warnings.append(f"{len(pairs)} pictures {what} (first: {a} is {b}). One is wrong.")
    return tuple(row for row in rows if row.file not in dropped), warnings, tuple(twins)


def _same_bytes(storage: Storage, names: Sequence[str]) -> list[list[str]]:
    """Groups of at least two files of one content that shows something."""
    marked: dict[object, list[str]] = defaultdict(list)
    for name in names:
        try:
            if storage.size(name):
                marked[storage.mark(name)].append(name)
        except ZIP_ERRORS:
            continue  # reading it later says what is wrong
    groups = []
    for alike in marked.values():
        if len(alike) < 2:
            continue
        hashed: dict[str, list[str]] = defaultdict(list)
        for name in alike:
            try:
                hashed[hashlib.sha256(storage.read(name)).hexdigest()].append(name)
            except DatasetError:
                continue
        groups += [group for group in hashed.values() if len(group) > 1 and _shows(storage, group)]
    return groups


def _shows(storage: Storage, group: Sequence[str]) -> bool:
    """Whether the picture has more than one colour: two blank pictures are not one cell."""
    try:
        image = decode_image(storage.read(group[0]), group[0])
    except (DatasetError, ImageError):
        return False
    return bool((image != image[:1, :1]).any())
