"""TensorFlow Datasets' own files: TFRecords of tf.train.Example, read without TensorFlow.

``malaria-train.tfrecord-00000-of-00002`` holds records of an 8-byte length, a 4-byte checksum, the
message and another checksum (https://www.tensorflow.org/tutorials/load_data/tfrecord). The message
is a protocol buffer: a map from names to lists. ``label.labels.txt`` beside it names the classes.
"""

from __future__ import annotations

import io
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO

from edge_malaria.data.labels import ClassNames
from edge_malaria.data.rows import Row
from edge_malaria.data.storage import MAX_FILE_BYTES, FolderStorage, Storage
from edge_malaria.errors import DatasetError
from edge_malaria.image_files.content import content_of

NAMES_FILE = "label.labels.txt"
_RECORDS = re.compile(r"\.tfrecord(?:-\d+-of-\d+)?$")
_SPLIT = re.compile(r"-(train|validation|val|test)\.tfrecord")
_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


def record_files(storage: Storage) -> list[str]:
    """The TFRecord files of a data set."""
    # A path of each name takes long, and a data set has many.
    named = (name for name in storage.names if ".tfrecord" in name)
    return [name for name in named if _RECORDS.search(PurePosixPath(name).name)]


class RecordStorage(Storage):
    """The pictures inside TFRecord files, each named ``FILE#NUMBER``.

    Attributes:
        labels: name -> the number of its class.
    """

    def __init__(self, folder: FolderStorage, files: list[str]) -> None:
        self._folder = folder
        self.labels: dict[str, int] = {}
        found: dict[str, object] = {}
        for file in files:
            with folder.open(file) as handle:
                try:
                    for number, (start, message) in enumerate(_records(handle)):
                        name = f"{file}#{number}"
                        place, length, self.labels[name] = _example(message)
                        found[name] = (file, start + place, length)
                except (ValueError, IndexError, struct.error) as error:
                    raise DatasetError(f"{folder.path}: {file} is damaged ({error}).") from error
        super().__init__(folder.path, found, Counter(folder.left_out))

    def _place(self, name: str) -> tuple[str, int, int]:
        place = self._found[name]
        assert isinstance(place, tuple)
        return place

    def size(self, name: str) -> int:
        """Bytes of one picture."""
        return self._place(name)[2]

    def open(self, name: str) -> IO[bytes]:
        """One picture, opened for reading."""
        file, start, length = self._place(name)
        with self._folder.open(file) as handle:
            handle.seek(start)
            return io.BytesIO(handle.read(length))

    def changed(self, name: str) -> object:
        """When the file that holds the record changed, and where the record lies in it."""
        file, start, _ = self._place(name)
        return self._folder.changed(file), start

    def mark(self, name: str) -> object:
        """Size and last bytes: a compressed picture's checksum stands there."""
        with self.open(name) as handle:
            data = handle.read()
        return len(data), data[-64:]


def rows_of_records(storage: RecordStorage, names: str, classes: ClassNames) -> list[Row]:
    """A row for each record; splits where the files' names tell at least two.

    Args:
        storage: the records.
        names: the text of ``label.labels.txt``, a class a line.
        classes: names of the classes.

    Raises:
        DatasetError: a label without a name, or a name that is none of the classes.
    """
    words = names.split("\n")
    rows = []
    for name in storage.names:
        number = storage.labels[name]
        word = words[number].strip() if 0 <= number < len(words) else ""
        label = classes.label(word)
        if label is None:
            raise DatasetError(
                f"{storage.path}: {name} has the label {number} ({word or 'no name'}): expected "
                f"{classes.in_words()} in {NAMES_FILE}, or other names with --classes."
            )
        split = _SPLIT.search(name)
        rows.append(Row(name, label, split=_SPLITS[split[1]] if split else None))
    if len({row.split for row in rows}) < 2 or any(row.split is None for row in rows):
        rows = [replace(row, split=None) for row in rows]
    return rows


def _records(handle: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(where the message begins, the message) of each record."""
    start = 0
    while head := handle.read(12):
        (length,) = struct.unpack("<Q", head[:8])
        if not (len(head) == 12 and length <= MAX_FILE_BYTES):
            raise ValueError("a record's length")
        body = handle.read(length + 4)
        if len(body) != length + 4:
            raise ValueError("the last record is cut off")
        yield start + 12, body[:length]
        start += 16 + length


def _example(message: bytes) -> tuple[int, int, int]:
    """Where the picture lies in a tf.train.Example, how long it is, and its label."""
    picture, label = None, None
    for _, start, end in _fields(message, 0, len(message), 1):
        for _, low, high in _fields(message, start, end, 1):
            key, lists = b"", (0, 0)
            for number, first, last in _fields(message, low, high):
                if number == 1:
                    key = message[first:last]
                elif number == 2:
                    lists = (first, last)
            if key == b"label":
                label = _first_number(message, *lists)
            elif key == b"image" or picture is None:
                picture = _first_picture(message, *lists) or picture
    if picture is None or label is None:
        raise ValueError("a record without a picture or a label")
    return (*picture, label)


def _first_picture(message: bytes, start: int, end: int) -> tuple[int, int] | None:
    for _, low, high in _fields(message, start, end, 1):
        for _, first, last in _fields(message, low, high, 1):
            if content_of(message[first : min(last, first + 400)]) == "picture":
                return first, last - first
    return None


def _first_number(message: bytes, start: int, end: int) -> int:
    for _, low, high in _fields(message, start, end, 3):
        for _, first, last in _fields(message, low, high, 1):
            if last > first:
                return _varint(message, first, last)[0]
            return first  # a number that is not packed: see ``_fields``
    return 0  # protocol buffers leave out a zero


def _fields(
    message: bytes, start: int, end: int, wanted: int | None = None
) -> Iterator[tuple[int, int, int]]:
    """(number, first byte, byte after the last) of each field; a plain number n as (.., n, -1)."""
    place = start
    while place < end:
        key, place = _varint(message, place, end)
        number, kind = key >> 3, key & 7
        if kind == 2:
            length, place = _varint(message, place, end)
            first, place = place, place + length
            last = place
        elif kind == 0:
            first, place = _varint(message, place, end)
            last = -1
        elif kind in (1, 5):
            first, place = place, place + (8 if kind == 1 else 4)
            last = place
        else:
            raise ValueError(f"wire type {kind}")
        if place > end:
            raise ValueError("a field reaches beyond its message")
        if wanted is None or number == wanted:
            yield number, first, last


def _varint(message: bytes, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("a number is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")
