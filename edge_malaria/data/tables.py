"""Reads the tables that lie beside cells: CSV as Excel, pandas and web sites write it.

Everything that reads a table of cells comes here, so that patient ids, class names and file names
mean the same in all of them.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_malaria.errors import DatasetError

# Column names of public tables -> the name they have here.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": ("filename", "file_name", "image", "image_name", "image_path", "filepath", "path"),
    "class": ("label", "category", "target"),
    "patient_id": ("patient", "patientid", "subject", "subject_id"),
}
_NO_PATIENT = frozenset(("", "nan", "none", "null", "na", "n/a", "#n/a", "-", "--", "?", "unknown"))
# Longer than any table of cells: a million rows of 200 letters.
MAX_TABLE_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Table:
    """A table's rows.

    Attributes:
        name: the file's name, for messages.
        columns: as they stand in the file.
        keys: the columns in this project's names.
        records: key -> text, stripped, for each row.
        lines: line number of each row in the file, from 1.
    """

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    records: tuple[dict[str, str], ...]
    lines: tuple[int, ...]


def read_table(path: Path, needed: Sequence[str] = ()) -> Table:
    """Reads a CSV file.

    Raises:
        DatasetError: unreadable, a column missing, or a row with more cells than columns.
    """
    try:
        if not (path.stat().st_size <= MAX_TABLE_BYTES):
            raise DatasetError(
                f"{path} is above {MAX_TABLE_BYTES // 2**20} MiB: no table of cells."
            )
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}.") from error
    return parse_table(data, str(path), needed)


def parse_table(data: bytes, name: str, needed: Sequence[str] = ()) -> Table:
    """``read_table`` of a file's bytes."""
    text = _text(data, name)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        lines = [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise DatasetError(f"{name} is no CSV table that can be read ({error}).") from error
    lines = [(number, line) for number, line in lines if any(cell.strip() for cell in line)]
    columns = tuple(column.strip() for column in lines[0][1]) if lines else ()
    keys = _keys(columns)
    missing = [column for column in needed if column not in keys]
    if missing:
        raise DatasetError(
            f"{name}: expected columns {', '.join(needed)}, got {', '.join(columns) or 'none'}."
        )
    doubled = sorted({key for key in keys if key and keys.count(key) > 1})
    if doubled:
        raise DatasetError(f"{name}: the column {doubled[0]} stands there twice.")
    records = []
    for number, line in lines[1:]:
        if len(line) > len(columns) and any(cell.strip() for cell in line[len(columns) :]):
            raise DatasetError(
                f"{name}, line {number}: {len(line)} cells, but {len(columns)} columns."
            )
        cells = [*line, *[""] * (len(columns) - len(line))]
        records.append({key: cell.strip() for key, cell in zip(keys, cells, strict=False) if key})
    numbers = tuple(number for number, _ in lines[1:])
    return Table(name, columns, tuple(key for key in keys if key), tuple(records), numbers)


def _text(data: bytes, name: str) -> str:
    # Excel writes "Unicode text" as UTF-16 with a mark, and UTF-8 with one.
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"cannot read {name}: it is not UTF-8 ({error.reason}). Save it as CSV UTF-8."
        ) from error
    if "\0" in text:
        raise DatasetError(f"{name} is no text: it holds zero bytes. Save it as CSV UTF-8.")
    return text


def _delimiter(text: str) -> str:
    """Excel separates by semicolons where the comma is the decimal mark."""
    header = text.lstrip().partition("\n")[0]
    return max(",;\t", key=header.count) if header else ","


def _keys(columns: Sequence[str]) -> list[str]:
    plain = [re.sub(r"[\s-]+", "_", column.casefold()) for column in columns]
    for key, others in _COLUMNS.items():
        if key not in plain:
            plain = [key if column in others else column for column in plain]
            # Two columns that could be it ("image" and "path"): the first one counts.
            first = plain.index(key) if key in plain else -1
            plain = [
                columns[i].casefold() if column == key and i != first else column
                for i, column in enumerate(plain)
            ]
    return plain


def patient_id(text: str, where: str) -> str:
    """A patient's id without surrounding blanks, in Unicode's composed form.

    Raises:
        DatasetError: blank, or a word that stands for nothing (nan, none, unknown ...).
    """
    name = " ".join(unicodedata.normalize("NFKC", text).split())
    if name.casefold() in _NO_PATIENT:
        shown = f"the patient_id {text!r}" if text.strip() else "a blank patient_id"
        raise DatasetError(
            f"{where} has {shown}. Name the patient, leave the cell out of the data set, or use "
            "--no-patients."
        )
    return name


class Patients:
    """Ids as one data set spells them: those that differ by case alone are one patient."""

    def __init__(self) -> None:
        self._spellings: dict[str, str] = {}
        self._others: dict[str, set[str]] = defaultdict(set)

    def __call__(self, text: str, where: str) -> str:
        """The id in the spelling that came first; see ``patient_id`` for what is refused."""
        name = patient_id(text, where)
        first = self._spellings.setdefault(name.casefold(), name)
        if text != first:
            self._others[first].add(text)
        return first

    def warnings(self) -> list[str]:
        """What a person should look at: other spellings that were joined, and ids nearly alike."""
        found = []
        if self._others:
            first, others = next(iter(self._others.items()))
            found.append(
                f"{len(self._others)} patient ids are written in more than one way and were joined "
                f"(first: {first!r} is also {sorted(others)[0]!r})."
            )
        return found + near_equal(self._spellings.values())


def near_equal(names: Iterable[str]) -> list[str]:
    """A warning where two patients' ids differ only by signs or leading zeros (D-001, D1)."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        plain = re.sub(r"[\W_]+", "", re.sub(r"\.0$", "", name.casefold()))
        groups[re.sub(r"(?<!\d)0+(?=\d)", "", plain)].append(name)
    alike = [sorted(group) for group in groups.values() if len(set(group)) > 1]
    if not alike:
        return []
    first, second = alike[0][:2]
    return [
        f"{len(alike)} pairs of patient ids are nearly alike (first: {first!r} and {second!r}). "
        "They count as different patients; if they are one, write them alike."
    ]


def stem_of(file: str) -> str:
    """A file's name without folders, suffix and what Roboflow appends, to compare tables with."""
    stem = PurePosixPath(file.replace("\\", "/")).name
    return _stem(stem)


# Roboflow makes "cell_png.rf.0a1b2c.jpg" of "cell.png".
_ROBOFLOW = re.compile(r"_(?:png|jpe?g|webp|bmp|tiff?)\.rf\.[0-9a-zA-Z]+$", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


def _stem(name: str) -> str:
    return _ROBOFLOW.sub("", _SUFFIX.sub("", name))


def path_of(file: str) -> tuple[str, ...]:
    """Folders and stem of a file, to compare a table's names with those of a data set."""
    parts = PurePosixPath(file.replace("\\", "/").removeprefix("./")).parts
    return (*parts[:-1], _stem(parts[-1])) if parts else ()


def same_file(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two paths agree as far as both go back: one spells more folders than the other."""
    shared = min(len(first), len(second))
    return shared > 0 and first[-shared:] == second[-shared:]
