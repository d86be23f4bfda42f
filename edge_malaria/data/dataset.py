"""Reads a DATASET: a folder or a zip in the NIH layout, its classes, patients and splits.

Layout: ``.../Parasitized/*`` and ``.../Uninfected/*``, any image format. ``patients.csv`` beside
the data (or given) says whose cell each is, and which split and fold the patient is in; without
it patient ids are read from NIH file names (``C<slide>P<patient>ThinF_...`` for infected
patients, ``C<slide>_...`` or ``C<slide>thin...`` for healthy ones).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_malaria.errors import DatasetError
from edge_malaria.files import decode_image, is_image
from edge_malaria.records import Image, expect

CLASS_LABELS = {"parasitized": 1, "uninfected": 0}
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

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return PurePosixPath(self.file).name


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows plus the way to read their pixels.

    Attributes:
        path: the folder or zip.
        rows: sorted by file name within class, Parasitized first.
        has_patients: whether every row has a patient id.
        warnings: what a user should know, for example an ignored patients.csv.
    """

    path: Path
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    _archive: list[zipfile.ZipFile] = field(default_factory=list, repr=False)

    @property
    def has_patients(self) -> bool:
        """Whether every row has a patient id."""
        return all(row.patient_id is not None for row in self.rows)

    @property
    def has_splits(self) -> bool:
        """Whether every row has a split."""
        return all(row.split is not None for row in self.rows)

    def select(self, split: str | Iterable[str] = "all", *, folds: Iterable[int] = ()) -> Dataset:
        """The rows of one split (or several, or "all"), optionally only of some folds.

        Raises:
            DatasetError: a split is asked for and rows have none, or nothing is left.
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
            rows = tuple(row for row in rows if row.split in wanted)
        chosen = set(folds)
        if chosen:
            rows = tuple(row for row in rows if row.fold in chosen)
        if not rows:
            raise DatasetError(f"{self.path}: no cell in split {'+'.join(sorted(wanted))}.")
        return Dataset(self.path, rows, self.warnings, self._archive)

    def thinned(self, count: int) -> Dataset:
        """About ``count`` rows, half of each class, evenly spaced in their order; 0 keeps all."""
        if not 0 < count < len(self.rows):
            return self
        rows: list[Row] = []
        for label in (1, 0):
            own = [row for row in self.rows if row.label == label]
            take = min(len(own), max(1, count // 2))
            rows += [own[index * len(own) // take] for index in range(take)]
        return Dataset(self.path, tuple(rows), self.warnings, self._archive)

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
        if self.path.is_dir():
            try:
                return (self.path / row.file).read_bytes()
            except OSError as error:
                raise DatasetError(f"cannot read {row.file}: {error.strerror}.") from error
        if not self._archive:
            self._archive.append(zipfile.ZipFile(self.path))
        try:
            return self._archive[0].read(row.file)
        except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
            raise DatasetError(f"{self.path}: {row.file} is damaged ({error}).") from error


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
        if seen.setdefault(row.patient_id, part) != part:
            raise DatasetError(
                f"leak: patient {row.patient_id} is in {key} {seen[row.patient_id]} and {part}. "
                "Make the split by patient: edge-malaria data split DATASET."
            )


def open_dataset(path: Path | str, patients: Path | str | None = None) -> Dataset:
    """Opens a folder or zip in the NIH layout.

    Args:
        path: folder or .zip.
        patients: a patients.csv; default: ``patients.csv`` beside or inside, used only where it
            names every file.

    Raises:
        DatasetError: missing, empty, a class folder missing, or ``patients`` does not fit.
    """
    path = Path(path)
    files = _list_files(path)
    rows = sorted(
        (Row(name, CLASS_LABELS[label]) for name, label in files), key=lambda r: (-r.label, r.file)
    )
    for word, label in (("Parasitized", 1), ("Uninfected", 0)):
        if not any(row.label == label for row in rows):
            raise DatasetError(
                f"{path}: no images in a class folder named {word}. Expected the layout "
                f"{path.name}/Parasitized/* and {path.name}/Uninfected/*."
            )
    return _with_patients(path, rows, None if patients is None else Path(patients))


def _list_files(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        raise DatasetError(f"data set {path} does not exist.")
    if path.is_dir():
        names = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]
        root = [path.name]
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise DatasetError(f"{path} is neither a folder nor a readable zip.") from error
        root = []
    found = []
    for name in names:
        if not is_image(name):
            continue
        parents = [part.lower() for part in [*root, *PurePosixPath(name).parts[:-1]]]
        labels = [part for part in parents if part in CLASS_LABELS]
        if labels:
            found.append((name, labels[-1]))
    if not found:
        raise DatasetError(
            f"{path} holds no images in class folders. Expected {path.name}/Parasitized/* and "
            f"{path.name}/Uninfected/*."
        )
    return found


def _with_patients(path: Path, rows: list[Row], given: Path | None) -> Dataset:
    candidates = [given] if given else [path.parent / "patients.csv", path / "patients.csv"]
    for candidate in candidates:
        if not candidate.is_file():
            if given:
                raise DatasetError(f"patients file {given} does not exist.")
            continue
        table = _read_patients(candidate)
        missing = [row.file for row in rows if _table_key(row) not in table]
        if not missing:
            return Dataset(path, tuple(_joined(row, table[_table_key(row)]) for row in rows))
        message = (
            f"{candidate.name} does not name {len(missing)} of {len(rows)} files "
            f"(first: {missing[0]})"
        )
        if given:
            raise DatasetError(f"{message}. Every file must be named.")
        return _from_names(path, rows, (f"{message}; it is ignored.",))
    return _from_names(path, rows, ())


def _from_names(path: Path, rows: list[Row], warnings: tuple[str, ...]) -> Dataset:
    parsed = [parse_nih_name(row.name) for row in rows]
    if all(parsed):
        named = tuple(
            Row(row.file, row.label, patient_id=p[0], slide_key=p[1])
            for row, p in zip(rows, parsed, strict=True)
            if p
        )
        return Dataset(path, named, warnings)
    return Dataset(path, tuple(rows), warnings)


def _table_key(row: Row) -> tuple[str, int]:
    # Re-encoded copies change the suffix, never the stem.
    return PurePosixPath(row.file).stem, row.label


def _read_patients(path: Path) -> dict[tuple[str, int], dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}.") from error
    reader = csv.DictReader(io.StringIO(text))
    needed = {"file", "class", "patient_id"}
    if not needed <= set(reader.fieldnames or ()):
        raise DatasetError(f"{path}: expected columns {sorted(needed)}, got {reader.fieldnames}.")
    table = {}
    for record in reader:
        label = CLASS_LABELS.get((record["class"] or "").lower())
        if label is None:
            raise DatasetError(f"{path}: expected class Parasitized or Uninfected, got {record}.")
        table[(PurePosixPath(record["file"]).stem, label)] = record
    return table


def _joined(row: Row, record: dict[str, str]) -> Row:
    fold = record.get("fold") or ""
    try:
        return Row(
            row.file,
            row.label,
            patient_id=record["patient_id"] or None,
            split=record.get("split") or None,
            fold=int(fold) if fold else None,
            suspect=(record.get("suspect_label") or "0") == "1",
            slide_key=record.get("slide_key") or None,
        )
    except ValueError as error:
        raise DatasetError(f"patients.csv, {row.file}: {error}.") from error
