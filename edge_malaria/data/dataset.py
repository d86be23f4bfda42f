"""Reads a DATASET: a folder, a zip or a table of labelled cells, their patients and splits.

``layouts`` says how cells may lie. ``patients.csv`` inside or beside the data (or given) says whose
cell each is, and which split and fold the patient is in; without it patient ids are read from NIH
file names (``C<slide>P<patient>ThinF_...`` for infected patients, ``C<slide>_...`` or
``C<slide>thin...`` for healthy ones). A table that lies there and does not fit is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from edge_malaria.data import patients as owners
from edge_malaria.data.duplicates import Twins, count_once
from edge_malaria.data.labels import CANONICAL, ClassNames, parse_classes
from edge_malaria.data.layouts import Found, find_rows, rows_of_table, whose_cells
from edge_malaria.data.rows import SPLITS, Row, assert_patient_disjoint, parse_nih_name
from edge_malaria.data.storage import FolderStorage, Storage, ZipStorage, open_storage
from edge_malaria.data.tables import read_table
from edge_malaria.data.tfrecords import NAMES_FILE, RecordStorage, record_files, rows_of_records
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.files import decode_image
from edge_malaria.records import Image

__all__ = [
    "CLASS_LABELS",
    "SPLITS",
    "Dataset",
    "Row",
    "assert_patient_disjoint",
    "open_dataset",
    "parse_nih_name",
]
CLASS_LABELS = CANONICAL
UNKNOWN_PATIENTS = (
    "PATIENTS ARE UNKNOWN (--unknown-patients): cells of one patient may stand on both sides, so "
    "every figure is too good. It is recorded, and no figure of it may be quoted."
)
TRAINED_ON_UNKNOWN = (
    "its patients were unknown when it was trained or calibrated: it may have seen patients of "
    "this data set, so no figure of it may be quoted."
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows plus the way to read their pixels.

    Attributes:
        path: the folder, zip or table.
        rows: sorted by file name within class, Parasitized first.
        warnings: what a user should know, for example files that were left out.
        unknown_patients: the user said that patients are unknown and goes on all the same.
        twins: pairs of files that are one picture in two splits.
    """

    path: Path
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    unknown_patients: bool = False
    twins: Twins = ()
    _storage: list[Storage] = field(default_factory=list, repr=False)

    @property
    def has_patients(self) -> bool:
        """Whether every row has a patient id."""
        return all(row.patient_id is not None for row in self.rows)

    @property
    def has_splits(self) -> bool:
        """Whether every row has a split."""
        return all(row.split is not None for row in self.rows)

    def expect_apart(self) -> None:
        """Refuses splits that share a patient or a picture.

        Raises:
            DatasetError: naming the first.
        """
        if self.has_patients and self.has_splits:
            assert_patient_disjoint(self.rows)
        if self.twins:
            first, second = self.twins[0]
            raise DatasetError(
                f"leak: {len(self.twins)} pictures stand in two splits (first: {first} is "
                f"{second}). Make the split anew: edge-malaria data split DATASET."
            )

    def select(self, split: str | Iterable[str] = "all", *, folds: Iterable[int] = ()) -> Dataset:
        """The rows of one split (or several, or "all"), optionally only of some folds.

        Raises:
            DatasetError: a split is asked for and rows have none, splits share a patient or a
                picture, or nothing is left.
        """
        rows = self.rows
        wanted = {split} if isinstance(split, str) else set(split)
        if "all" not in wanted:
            if not wanted <= set(SPLITS):
                raise DatasetError(f"unknown split {sorted(wanted)}: expected {SPLITS} or all.")
            if not self.has_splits:
                raise DatasetError(
                    f"{self.path} has no splits: add a patients.csv "
                    "(edge-malaria data split DATASET) or use --split all."
                )
            self.expect_apart()
            rows = tuple(row for row in rows if row.split in wanted)
        chosen = set(folds)
        if chosen:
            rows = tuple(row for row in rows if row.fold in chosen)
        if not rows:
            raise DatasetError(f"{self.path}: no cell in split {'+'.join(sorted(wanted))}.")
        return replace(self, rows=rows)

    def thinned(self, count: int) -> Dataset:
        """About ``count`` rows, half of each class, evenly spaced in their order; 0 keeps all."""
        if not 0 < count < len(self.rows):
            return self
        rows: list[Row] = []
        for label in (1, 0):
            own = [row for row in self.rows if row.label == label]
            take = min(len(own), max(1, count // 2))
            rows += [own[index * len(own) // take] for index in range(take)]
        return replace(self, rows=tuple(rows))

    def read(self, row: Row) -> Image:
        """The pixels of one cell, uint8 [H, W, 3] RGB.

        Raises:
            ImageError: unreadable.
        """
        return decode_image(self.read_bytes(row), f"{self.path.name}/{row.file}")

    def read_bytes(self, row: Row) -> bytes:
        """The encoded bytes of one cell's image.

        Raises:
            DatasetError: the file has gone or the archive is damaged.
        """
        return self._files().read(row.file)

    def stamps(self) -> list[object]:
        """For each row what is another as soon as its file is another; files are not read.

        Raises:
            DatasetError: a file has gone.
        """
        files = self._files()
        try:
            return [files.changed(row.file) for row in self.rows]
        except (OSError, KeyError) as error:
            raise DatasetError(f"{self.path}: a file has gone ({error}).") from error

    def _files(self) -> Storage:
        if not self._storage:
            self._storage.append(open_storage(self.path))
        return self._storage[0]


def open_dataset(
    path: Path | str,
    patients: Path | str | None = None,
    *,
    no_patients: bool = False,
    classes: str | ClassNames | None = None,
    unknown_patients: bool = False,
) -> Dataset:
    """Opens a folder, a zip, or a table of cells (see ``layouts``).

    Args:
        path: folder, .zip, or .csv with the columns file and class.
        patients: a patients.csv; default: the one inside the data set, or beside it.
        no_patients: a table of patients that lies there is ignored, and patients are unknown.
        classes: names of the classes, ``infected,healthy``; default: Parasitized and Uninfected.
        unknown_patients: go on where patients are unknown: splits are then made by cell.

    Raises:
        DatasetError: missing, empty, a class without cells, or a table that does not fit.
        UsageError: options that contradict each other.
    """
    path = Path(path)
    if no_patients and patients is not None:
        raise UsageError("--patients and --no-patients contradict each other: give one of them.")
    names = classes if isinstance(classes, ClassNames) else parse_classes(classes)
    storage, found = _opened(path, names)
    rows = sorted(found.rows, key=lambda row: (-row.label, row.file))
    for label in (1, 0):
        if not any(row.label == label for row in rows):
            word = names.shown[label]
            raise DatasetError(
                f"{path}: no images in a class folder named {word}. Expected the layout "
                f"{path.name}/{names.shown[1]}/* and {path.name}/{names.shown[0]}/*."
            )
    if isinstance(storage, ZipStorage):
        storage.refuse_unreadable(tuple(row.file for row in rows))
    warnings = [f"left out {count} {what}." for what, count in storage.left_out.items()]
    warnings += found.warnings()
    if no_patients:
        unread = owners.lies_there(storage)
        if unread is not None:
            warnings.append(f"{unread} is ignored (--no-patients): patients are unknown.")
    else:
        given = None if patients is None else Path(patients)
        table = owners.find_table(storage, given) or found.table
        if table is not None:
            rows, told = owners.joined(storage, rows, table, names)
        else:
            rows, told = owners.from_names(rows)
        warnings += told
    kept, told, twins = count_once(storage, rows)
    made = Dataset(path, kept, (*warnings, *told), False, twins, [storage])
    return _without_patients(made) if unknown_patients else made


def _opened(path: Path, names: ClassNames) -> tuple[Storage, Found]:
    if path.suffix.lower() == ".csv" and path.is_file():
        storage: Storage = FolderStorage(path.parent)
        table = read_table(path, ("file",))
        return storage, Found(rows_of_table(storage, table, names), table=whose_cells(table))
    storage = open_storage(path)
    files = record_files(storage)
    if files:
        return _records(storage, files, names)
    roots = [path.name] if path.is_dir() else []
    return storage, find_rows(storage, names, roots)


def _records(storage: Storage, files: list[str], names: ClassNames) -> tuple[Storage, Found]:
    """The records of TensorFlow Datasets, and the names of its classes beside the first."""
    if not isinstance(storage, FolderStorage):
        raise DatasetError(f"{storage.path} holds {files[0]}. Unpack it and give the folder.")
    beside = str(PurePosixPath(files[0]).with_name(NAMES_FILE))
    if beside not in storage.names:
        raise DatasetError(
            f"{storage.path}: {files[0]} is there but not {beside}, which names the classes."
        )
    records = RecordStorage(storage, files)
    text = storage.read(beside).decode("utf-8", "replace")
    return records, Found(rows_of_records(records, text, names))


def _without_patients(made: Dataset) -> Dataset:
    """Splits by cell where patients are unknown; said loudly and remembered."""
    if made.has_patients:
        return replace(
            made,
            warnings=(*made.warnings, "patients are known: --unknown-patients changes nothing."),
        )
    from edge_malaria.data.splits import split_by_cell

    rows = made.rows if made.has_splits else split_by_cell(made.rows)
    return replace(
        made, rows=rows, warnings=(UNKNOWN_PATIENTS, *made.warnings), unknown_patients=True
    )
