"""Where a data set's files lie: a folder or a zip, as systems and web sites leave them.

Names come with forward slashes. What is no picture of the data set (macOS's ``__MACOSX`` and
``._*``, notebooks' checkpoints, thumbnails' caches) is left out and counted.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from edge_malaria.errors import DatasetError
from edge_malaria.files import is_image, printable
from edge_malaria.image_files.content import HEAD_BYTES, content_of

# A crop of one cell is below 1 MB in any format; a longer one is no cell, or is made to fill the
# memory when it is unpacked.
MAX_FILE_BYTES = 64 * 2**20
_JUNK_FOLDERS = frozenset(
    ("__macosx", ".ipynb_checkpoints", "@eadir", "$recycle.bin", "system volume information")
)
_JUNK_FILES = frozenset(("thumbs.db", "desktop.ini", ".ds_store", "icon\r"))
_RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".arw", ".orf", ".raf", ".heic", ".heif")
_PACKED = {
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
}
_PACKINGS = {6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
_ARCHIVES = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
)
# What a damaged, cut or hostile archive raises in zipfile and its decompressors.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)


def is_junk(name: str) -> bool:
    """Whether a file is a system's own and no part of the data set."""
    parts = [part.casefold() for part in PurePosixPath(name).parts]
    return (
        bool(_JUNK_FOLDERS.intersection(parts))
        or parts[-1] in _JUNK_FILES
        or any(part.startswith(".") and part not in (".", "..") for part in parts)
    )


class Storage:
    """Files by name.

    Attributes:
        path: the folder or zip.
        names: of all files but junk, sorted.
        left_out: why files were not listed -> how many.
    """

    def __init__(self, path: Path, found: dict[str, object], left_out: Counter[str]) -> None:
        self.path = path
        self.names = tuple(sorted(found))
        self.left_out = left_out
        self._found = found

    def size(self, name: str) -> int:
        """Bytes of one file, unpacked."""
        raise NotImplementedError

    def open(self, name: str) -> IO[bytes]:
        """One file, opened for reading."""
        raise NotImplementedError

    def mark(self, name: str) -> object:
        """What files of the same content share; cheap, and nearly never shared by others."""
        raise NotImplementedError

    def changed(self, name: str) -> object:
        """What is another as soon as the file is another, unread; numbers that JSON can hold."""
        return self.mark(name)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            DatasetError: it has gone, is damaged, or is above ``MAX_FILE_BYTES``.
        """
        if name not in self._found:
            raise DatasetError(f"{self.path}: {name} is not there.")
        try:
            size = self.size(name)
            if not (size <= MAX_FILE_BYTES):
                raise DatasetError(
                    f"{self.path}: {name} has {size} bytes, above the limit of "
                    f"{MAX_FILE_BYTES // 2**20} MiB for one cell."
                )
            with self.open(name) as handle:
                return handle.read(MAX_FILE_BYTES + 1)
        except ZIP_ERRORS as error:
            raise DatasetError(f"{self.path}: {name} is damaged ({error}).") from error

    def head(self, name: str, count: int = HEAD_BYTES) -> bytes:
        """The first bytes of one file; empty where it cannot be read."""
        try:
            with self.open(name) as handle:
                return handle.read(count)
        except ZIP_ERRORS:
            return b""


class FolderStorage(Storage):
    """A folder; links to folders are followed, each folder is read once."""

    def __init__(self, path: Path) -> None:
        found: dict[str, object] = {}
        left_out: Counter[str] = Counter()
        for file in _walk(path):
            name = file.relative_to(path).as_posix()
            if is_junk(name):
                left_out["files of the operating system"] += 1
            elif file.is_file():
                found[printable(name)] = file
            else:
                left_out["links that lead nowhere, or no files"] += 1
        super().__init__(path, found, left_out)

    def _file(self, name: str) -> Path:
        file = self._found[name]
        assert isinstance(file, Path)
        return file

    def size(self, name: str) -> int:
        """Bytes of one file."""
        return self._file(name).stat().st_size

    def open(self, name: str) -> IO[bytes]:
        """One file, opened for reading."""
        return self._file(name).open("rb")

    def changed(self, name: str) -> object:
        """Size and time of the last change."""
        status = self._file(name).stat()
        return status.st_size, status.st_mtime_ns

    def mark(self, name: str) -> object:
        """Size and last bytes: a compressed picture's checksum stands there."""
        size = self.size(name)
        with self.open(name) as handle:
            handle.seek(max(0, size - 64))
            return size, handle.read(64)


def _walk(path: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()

    def stop(error: OSError) -> None:
        raise DatasetError(f"cannot read {error.filename}: {error.strerror}.") from error

    for folder, below, files in os.walk(path, followlinks=True, onerror=stop):
        try:
            place = os.stat(folder)
        except OSError as error:
            raise DatasetError(f"cannot read {folder}: {error.strerror}.") from error
        if (place.st_dev, place.st_ino) in seen:
            # Two links to one folder, or a link to a folder around it.
            below.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        below.sort()
        yield from (Path(folder) / file for file in sorted(files))


class ZipStorage(Storage):
    """A zip; nothing is unpacked to the disk, and sizes are checked before a byte is."""

    def __init__(self, path: Path) -> None:
        found: dict[str, object] = {}
        left_out: Counter[str] = Counter()
        try:
            self._archive = zipfile.ZipFile(path)
            entries = self._archive.infolist()
        except ZIP_ERRORS as error:
            raise DatasetError(_no_zip(path)) from error
        for entry in entries:
            # Windows programs write backslashes, which zipfile takes for letters elsewhere.
            name = printable(entry.filename.replace("\\", "/")).lstrip("/")
            if name.endswith("/") or not name:
                continue
            if is_junk(name):
                left_out["files of the operating system"] += 1
            elif stat.S_ISLNK(entry.external_attr >> 16):
                left_out["links inside the zip"] += 1
            elif name in found:
                left_out["further entries of a name that is taken"] += 1
            else:
                found[name] = entry
        super().__init__(path, found, left_out)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._found[name]
        assert isinstance(entry, zipfile.ZipInfo)
        return entry

    def size(self, name: str) -> int:
        """Bytes of one file, as the archive's directory states them; no more are unpacked."""
        return self._entry(name).file_size

    def open(self, name: str) -> IO[bytes]:
        """One file, opened for reading."""
        return self._archive.open(self._entry(name))

    def mark(self, name: str) -> object:
        """Size and CRC-32 from the archive's directory."""
        entry = self._entry(name)
        return entry.file_size, entry.CRC

    def refuse_unreadable(self, names: tuple[str, ...]) -> None:
        """Refuses an archive whose files ``names`` cannot be unpacked here.

        Raises:
            DatasetError: encrypted, packed in another way, or longer than a cell can be.
        """
        for name in names:
            entry = self._entry(name)
            if entry.flag_bits & 1:
                raise DatasetError(
                    f"{self.path} is encrypted ({name}). Unpack it and give the folder."
                )
            if entry.compress_type not in _PACKED:
                way = _PACKINGS.get(entry.compress_type, f"method {entry.compress_type}")
                raise DatasetError(
                    f"{self.path} is packed with {way} ({name}), which cannot be read here. Unpack "
                    "it and give the folder."
                )
            if not (entry.file_size <= MAX_FILE_BYTES):
                raise DatasetError(
                    f"{self.path}: {name} unpacks to {entry.file_size} bytes, above the limit of "
                    f"{MAX_FILE_BYTES // 2**20} MiB for one cell."
                )


def _no_zip(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            head = handle.read(300)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}."
    for magic, words in _ARCHIVES:
        if head.startswith(magic):
            return f"{path} is {words}. Unpack it and give the folder, or give a zip."
    if head[257:262] == b"ustar":
        return f"{path} is a tar archive. Unpack it and give the folder, or give a zip."
    if head.startswith(b"PK"):
        return f"{path} is cut off or damaged: it is no readable zip. Copy it again."
    return f"{path} is neither a folder nor a readable zip."


def open_storage(path: Path) -> Storage:
    """The files of a folder or zip.

    Raises:
        DatasetError: missing, not readable, or neither.
    """
    try:
        if not path.exists():
            raise DatasetError(f"data set {path} does not exist.")
        return FolderStorage(path) if path.is_dir() else ZipStorage(path)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}.") from error


def is_picture(storage: Storage, name: str) -> bool:
    """Whether a file is a picture that is decoded here: by its suffix, else by its first bytes.

    Camera raw files start like a TIFF, but the picture in them is a preview; HEIC is not decoded.
    """
    if name.lower().endswith(_RAW_SUFFIXES):
        return False
    return is_image(name) or content_of(storage.head(name)) == "picture"
