"""Whose cells they are: from a patients.csv, from NIH file names, or unknown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from edge_malaria.data.labels import ClassNames
from edge_malaria.data.layouts import split_named
from edge_malaria.data.rows import Row, parse_nih_name
from edge_malaria.data.storage import Storage
from edge_malaria.data.tables import Patients, Table, parse_table, path_of, read_table, same_file
from edge_malaria.errors import DatasetError

TABLE = "patients.csv"
NEEDED = ("file", "class", "patient_id")
# (stem, label) -> (path, record, line) of the rows that name it.
Named = dict[tuple[str, int], list[tuple[tuple[str, ...], dict[str, str], int]]]


def find_table(storage: Storage, given: Path | None) -> Table | None:
    """The patients.csv that applies: the one given, else one inside the data set, else beside it.

    Raises:
        DatasetError: it is given and missing, or it cannot be read.
    """
    if given is not None:
        if not given.is_file():
            raise DatasetError(f"patients file {given} does not exist.")
        return read_table(given, NEEDED)
    inside = _inside(storage)
    if inside is not None:
        return parse_table(storage.read(inside), f"{storage.path.name}/{inside}", NEEDED)
    beside = storage.path.parent / TABLE
    return read_table(beside, NEEDED) if beside.is_file() else None


def _inside(storage: Storage) -> str | None:
    for name in storage.names:
        parts = PurePosixPath(name).parts
        if parts[-1] == TABLE and len(parts) <= 2:
            return name
    return None


def lies_there(storage: Storage) -> str | None:
    """The name of the patients.csv that would apply, unread; None where there is none."""
    inside = _inside(storage)
    if inside is not None:
        return f"{storage.path.name}/{inside}"
    beside = storage.path.parent / TABLE
    return str(beside) if beside.is_file() else None


def joined(
    storage: Storage, rows: Sequence[Row], table: Table, classes: ClassNames
) -> tuple[list[Row], list[str]]:
    """Rows with the table's patients, splits, folds and suspect labels; and warnings.

    Raises:
        DatasetError: the table does not name every file, names one in two ways, or has a bad cell.
    """
    named = _named(table, classes)
    patients, used = Patients(), set()
    paths = [path_of(row.file) for row in rows]
    stems = Counter((path[-1], row.label) for row, path in zip(rows, paths, strict=True))
    done, missing = [], []
    for row, path in zip(rows, paths, strict=True):
        alone = stems[(path[-1], row.label)] == 1
        record, line = _record_of(row, path, named, table, alone)
        if record is None:
            missing.append(row.file)
            continue
        used.add(line)
        done.append(_with(row, record, patients, f"{table.name}, line {line}"))
    if missing:
        raise DatasetError(
            f"{table.name} does not name {len(missing)} of {len(rows)} files (first: "
            f"{missing[0]}). Every file must be named; --no-patients goes on without the table."
        )
    _expect_apart(storage, done, named)
    if any(row.split is None for row in done):
        half = sum(row.split is None for row in done)
        if half < len(done):
            raise DatasetError(f"{table.name}: {half} of {len(done)} cells have no split.")
        done = [replace(row, split=old.split) for row, old in zip(done, rows, strict=True)]
    warnings = patients.warnings()
    if len(table.records) > len(used):
        more = len(table.records) - len(used)
        warnings.append(f"{table.name} names {more} cells that are not in the data set.")
    return done, warnings


def _named(table: Table, classes: ClassNames) -> Named:
    named: Named = defaultdict(list)
    for record, line in zip(table.records, table.lines, strict=True):
        where = f"{table.name}, line {line}"
        label = classes.label(record["class"])
        if label is None:
            raise DatasetError(
                f"{where}: expected class {classes.in_words()}, got {record['class']!r}."
            )
        parts = path_of(record["file"])
        if not parts:
            raise DatasetError(f"{where}: the file's name is blank.")
        named[(parts[-1], label)].append((parts, record, line))
    return named


def _record_of(
    row: Row, parts: tuple[str, ...], named: Named, table: Table, alone: bool
) -> tuple[dict[str, str] | None, int]:
    """The line that names a row's file, the one that spells most of its path.

    ``parts``: its path. ``alone``: no other file of its class has the name.
    """
    lines = named.get((parts[-1], row.label), ())
    fitting = [(len(path), record, line) for path, record, line in lines if same_file(path, parts)]
    if not fitting and len(lines) == 1 and alone:
        # Another computer's folders ("C:/Users/..."): the name is the only one of its kind.
        return lines[0][1], lines[0][2]
    if not fitting:
        return None, 0
    most = max(length for length, _, _ in fitting)
    best = [(record, line) for length, record, line in fitting if length == most]
    first, line = best[0]
    for other, second in best[1:]:
        if other != first:
            raise DatasetError(
                f"{table.name}, lines {line} and {second}: {row.name} is named twice, not alike."
            )
    return first, line


def _expect_apart(storage: Storage, rows: Sequence[Row], named: Named) -> None:
    """Two files of one name in two folders need their folders in the table."""
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row.name, row.label)].append(row)
    for (name, label), group in groups.items():
        if len(group) < 2:
            continue
        lines = named[(path_of(name)[-1], label)]
        spelled = all(len(path) > 1 for path, _, _ in lines)
        if not spelled and len({storage.mark(row.file) for row in group}) > 1:
            raise DatasetError(
                f"two different files are named {name} ({group[0].file}, {group[1].file}): the "
                "table of patients must name their folders."
            )


def _with(row: Row, record: dict[str, str], patients: Patients, where: str) -> Row:
    fold, split = record.get("fold") or "", record.get("split") or ""
    suspect = record.get("suspect_label") or "0"
    if suspect not in ("0", "1"):
        raise DatasetError(f"{where}: expected suspect_label 0 or 1, got {suspect!r}.")
    try:
        number = int(float(fold)) if fold else None
        if number is not None and (number < 0 or float(fold) != number):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: expected a fold from 0 on, got {fold!r}.") from error
    return replace(
        row,
        patient_id=patients(record["patient_id"], where),
        split=split_named(split, where) if split else None,
        fold=number,
        suspect=suspect == "1",
        slide_key=record.get("slide_key") or None,
    )


def from_names(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Rows with the patients that NIH file names tell, where all do; and warnings."""
    parsed = [parse_nih_name(row.name) for row in rows]
    if all(parsed):
        return [
            replace(row, patient_id=p[0], slide_key=p[1])
            for row, p in zip(rows, parsed, strict=True)
            if p
        ], []
    known = sum(p is not None for p in parsed)
    if not known:
        return list(rows), []
    other = next(row.file for row, p in zip(rows, parsed, strict=True) if p is None)
    return list(rows), [
        f"{known} of {len(rows)} file names tell a patient, the others do not (first: {other}): "
        "patients are unknown. Name them in a patients.csv (edge-malaria data split --template)."
    ]
