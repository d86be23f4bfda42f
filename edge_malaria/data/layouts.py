"""From a data set's files to labelled rows: class folders, split folders, and flat tables.

Class folders      ``.../Parasitized/*``, ``.../Uninfected/*`` (NIH, Kaggle, TensorFlow Datasets)
Split folders      ``train/Parasitized/*``, ``valid/...``, ``test/...`` (ImageFolder, Roboflow)
Flat               pictures, and a table beside them: ``file,class`` or Roboflow's ``_classes.csv``
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from edge_malaria.data.labels import ClassNames, folded, suggested
from edge_malaria.data.rows import Row
from edge_malaria.data.storage import Storage, is_picture
from edge_malaria.data.tables import Table, parse_table, path_of
from edge_malaria.errors import DatasetError
from edge_malaria.files import is_image

_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
LABEL_TABLES = ("labels.csv", "metadata.csv", "_classes.csv", "patients.csv")


@dataclass(eq=False)
class Found:
    """What a layout gives.

    Attributes:
        rows: labelled cells, with splits where folders or a table name them.
        left_out: why files are not among them -> their names.
        folders: pictures by the folder that they lie in, for advice.
        table: the flat layout's table, where it names patients too.
    """

    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    folders: Counter[str] = field(default_factory=Counter)
    table: Table | None = None

    def warnings(self) -> list[str]:
        """One line for each reason."""
        return [
            f"left out {len(names)}: {reason} (first: {names[0]})."
            for reason, names in sorted(self.left_out.items())
        ]


def find_rows(storage: Storage, classes: ClassNames, roots: Sequence[str]) -> Found:
    """The labelled cells of a folder or zip.

    Args:
        storage: its files.
        classes: names of its classes.
        roots: the folder's own name, which may be a class.

    Raises:
        DatasetError: no cells, or a table that does not fit.
    """
    found = _in_class_folders(storage, classes, roots)
    if not found.rows:
        packed = _packed(storage)
        if packed:
            raise DatasetError(packed)
        flat = _flat(storage, classes)
        if flat is not None:
            return flat
        raise DatasetError(_nothing(storage, classes, found))
    return found


def _in_class_folders(storage: Storage, classes: ClassNames, roots: Sequence[str]) -> Found:
    found = Found()
    for name in storage.names:
        parents = PurePosixPath(name).parts[:-1]
        labels = [classes.label(part) for part in (*roots, *parents)]
        named = [label for label in labels if label is not None]
        if named and is_picture(storage, name):
            found.rows.append(Row(name, named[-1], split=_split_of(parents)))
        elif named:
            suffix = PurePosixPath(name).suffix.lower() or "no suffix"
            found.left_out[f"{suffix} files in class folders, which are not read"].append(name)
        elif is_image(name):
            found.folders[parents[-1] if parents else "."] += 1
            found.left_out["pictures outside the class folders"].append(name)
    splits = {row.split for row in found.rows}
    if None in splits or len(splits) < 2:
        found.rows = [replace(row, split=None) for row in found.rows]
    return found


def _split_of(parents: Sequence[str]) -> str | None:
    named = [_SPLIT_FOLDERS[folded(part)] for part in parents if folded(part) in _SPLIT_FOLDERS]
    return named[-1] if named else None


def _packed(storage: Storage) -> str:
    """What to say where the pictures lie in an archive inside; empty where there is none."""
    inner = [name for name in storage.names if name.lower().endswith((".zip", ".tar", ".tar.gz"))]
    if not inner or any(is_image(name) for name in storage.names):
        return ""
    path, whole = storage.path, storage.path / inner[0]
    if path.is_dir() and whole.suffix.lower() == ".zip":
        return f"{path} holds no images but {inner[0]}. Give that: {whole}"
    return f"{path} holds no images but {inner[0]}. Unpack that and give it."


def _nothing(storage: Storage, classes: ClassNames, found: Found) -> str:
    path = storage.path
    expected = f"Expected {path.name}/{classes.shown[1]}/* and {path.name}/{classes.shown[0]}/*"
    if not found.folders:
        return f"{path} holds no images in class folders. {expected}."
    seen = ", ".join(f"{name} ({count})" for name, count in found.folders.most_common(6))
    advice = suggested(sorted(found.folders))
    ways = f"Add {advice}" if advice else f"{expected}, another pair with --classes"
    return (
        f"{path} holds no images in class folders named {classes.in_words()}; it has pictures in: "
        f"{seen}. {ways}, or a table labels.csv with the columns file and class."
    )


def _flat(storage: Storage, classes: ClassNames) -> Found | None:
    """Rows of the tables inside, or None where there are none."""
    inside = [n for n in storage.names if PurePosixPath(n).name.casefold() in LABEL_TABLES]
    tops = [n for n in storage.names if n.lower().endswith(".csv") and "/" not in n]
    chosen = inside or (tops if len(tops) == 1 else [])
    if not chosen:
        return None
    found = Found()
    for name in chosen:
        table = parse_table(storage.read(name), f"{storage.path.name}/{name}", ("file",))
        folder = PurePosixPath(name).parent
        split = _split_of(folder.parts) if len(chosen) > 1 else None
        found.rows += rows_of_table(storage, table, classes, str(folder), split)
        found.table = whose_cells(table) if len(chosen) == 1 else None
    taken = {row.file for row in found.rows}
    for name in storage.names:
        if name not in taken and is_image(name):
            found.left_out[f"pictures that {chosen[0]} does not name"].append(name)
    return found


def rows_of_table(
    storage: Storage,
    table: Table,
    classes: ClassNames,
    folder: str = ".",
    split: str | None = None,
) -> list[Row]:
    """A row for each line of a table that names files and classes.

    Args:
        storage: where the files lie.
        table: with the column ``file`` and ``class``, or a column of 0 and 1 for each class.
        classes: names of the classes.
        folder: what the table's names are relative to.
        split: of all its rows, where the table does not say.

    Raises:
        DatasetError: a file that is not there or is named twice, or an unknown class.
    """
    index: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in storage.names:
        if is_picture(storage, name):
            parts = path_of(name)
            for start in range(len(parts)):
                index[parts[start:]].append(name)
    rows, seen, missing = [], set(), []
    for record, line in zip(table.records, table.lines, strict=True):
        where = f"{table.name}, line {line}"
        label = _label(record, classes, where)
        named = path_of(record["file"])
        whole = named if folder == "." else (*PurePosixPath(folder).parts, *named)
        places = next((index[part] for part in _shorter(whole, named) if part in index), [])
        if not places:
            missing.append(record["file"])
            continue
        if len(places) > 1:
            raise DatasetError(
                f"{where}: {record['file']} may be {places[0]} or {places[1]}. Write its folder."
            )
        if places[0] in seen:
            raise DatasetError(f"{where}: {record['file']} is named twice.")
        seen.add(places[0])
        own = record.get("split") or ""
        rows.append(Row(places[0], label, split=split_named(own, where) if own else split))
    if missing:
        raise DatasetError(
            f"{table.name} names {len(missing)} of {len(table.records)} files that are not there "
            f"(first: {missing[0]})."
        )
    if not rows:
        raise DatasetError(f"{table.name} names no cells.")
    if any(row.split is None for row in rows):
        rows = [replace(row, split=None) for row in rows]
    return rows


def _shorter(*paths: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths themselves, then the last without one folder after the other."""
    yield from paths
    for start in range(1, len(paths[-1])):
        yield paths[-1][start:]


def whose_cells(table: Table) -> Table | None:
    """``table`` where it has a class and a patient for its cells, else None."""
    has = {"class", "patient_id"} <= set(table.keys)
    return table if has and any(record["patient_id"] for record in table.records) else None


def split_named(text: str, where: str) -> str:
    """``Train``, ``valid``, ``validation`` ... as train, val or test.

    Raises:
        DatasetError: another word.
    """
    split = _SPLIT_FOLDERS.get(folded(text))
    if split is None:
        raise DatasetError(f"{where}: expected split train, val or test, got {text!r}.")
    return split


def _label(record: dict[str, str], classes: ClassNames, where: str) -> int:
    if "class" in record:
        label = classes.label(record["class"])
        if label is None:
            advice = suggested([record["class"]]) or "--classes with the names of this table"
            raise DatasetError(
                f"{where}: expected class {classes.shown[1]} or {classes.shown[0]}, got "
                f"{record['class']!r}. Other names are given with {advice}."
            )
        return label
    marked = {
        label
        for column, value in record.items()
        if (label := classes.label(column)) is not None and value in ("1", "1.0", "true", "True")
    }
    if len(marked) != 1:
        raise DatasetError(
            f"{where}: expected a column class, or one of the columns {classes.in_words()} to be 1."
        )
    return marked.pop()
