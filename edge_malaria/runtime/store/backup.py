"""A backup of a device: database, slides, site profiles and waiting pictures in one hashed zip.

Users stand in the database. The private key of TLS is never packed: a device makes itself another.

The database is copied by SQLite itself (``VACUUM INTO``), so it is whole although the device works
on. Journals only grow: a copy that ends within a line is a torn tail, which every reader knows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from edge_malaria.data.storage import ZIP_ERRORS
from edge_malaria.disk_sync import fsync_directory
from edge_malaria.errors import DataError, OutputExists, StorageError
from edge_malaria.files import new_file, storage_errors, write_bytes
from edge_malaria.leftovers import held, sweep
from edge_malaria.runtime.store.database import (
    NAME,
    RESTORING,
    connect,
    sqlite_errors,
    version_of,
)
from edge_malaria.runtime.store.slides import SLIDES

INDEX = "backup.json"
FORMAT = "edge-malaria-backup"
# Folders of the data folder that are packed beside the database.
SITES, UPLOADS, CAMERAS = "sites", "upload", "camera"
FOLDERS = (SLIDES, SITES, UPLOADS, CAMERAS)
_CHUNK = 1 << 20
# 150 bytes a file: some 400,000 files, or a thousand slides with their pictures.
_MAX_INDEX_BYTES = 64 << 20


@dataclass(frozen=True)
class Backup:
    """What a backup holds: how many slides and files, and bytes before packing."""

    slides: int
    files: int
    bytes: int


def write_backup(data: Path, target: Path, step: Callable[[], None] = lambda: None) -> Backup:
    """Writes a backup of the device's data folder; the device may work on meanwhile.

    Args:
        data: the folder with the database and the slides.
        target: the zip to make; written beside and renamed, so it is whole or not there. What a
            killed backup left of it is swept first.
        step: called after each file.

    Raises:
        OutputExists: there is such a file.
        DataError: no database there, or a damaged one.
        StorageError: disk full or not writable.
    """
    if target.exists():
        raise OutputExists(f"{target} exists. A backup is never replaced: choose another name.")
    if not (data / NAME).is_file():
        raise DataError(f"{data} holds no {NAME}: it is no data folder of a device.")
    sweep(target)
    with (
        new_file(target) as out,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work,
        held(Path(work)),
    ):
        return _write(data, out, Path(work) / NAME, step)


def _write(data: Path, out: BinaryIO, copy: Path, step: Callable[[], None]) -> Backup:
    """Packs everything into ``out``; ``copy`` is where the database's copy may lie meanwhile."""
    hashes: dict[str, str] = {}
    size = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with sqlite_errors(data / NAME):
            connection = connect(data / NAME)
            try:
                connection.execute("VACUUM INTO ?", (str(copy),))
            finally:
                connection.close()
        for name, path in [(NAME, copy), *_files(data, _signed(copy))]:
            digest, written = _pack(archive, name, path)
            hashes[name] = digest
            size += written
            step()
        index = {"format": FORMAT, "schema_version": 1, "files": hashes}
        archive.writestr(INDEX, json.dumps(index, indent=1, sort_keys=True))
    slides = {PurePosixPath(name).parts[1] for name in hashes if name.startswith(f"{SLIDES}/")}
    return Backup(len(slides), len(hashes), size)


def _signed(copy: Path) -> set[str]:
    """The slides that are closed: the pictures that a phone sent for them are no longer needed."""
    connection = sqlite3.connect(copy)
    try:
        rows = connection.execute("SELECT id FROM slides WHERE state = 'signed'").fetchall()
    except sqlite3.OperationalError:
        # A database from before the worklist.
        rows = []
    finally:
        connection.close()
    return {str(row[0]) for row in rows}


def _files(data: Path, signed: Collection[str]) -> Iterator[tuple[str, Path]]:
    for name in FOLDERS:
        folder = data / name
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            relative = path.relative_to(data)
            done = name == UPLOADS and relative.parts[1] in signed
            hidden = any(part.startswith(".") for part in relative.parts)
            if path.is_file() and not done and not hidden:
                yield relative.as_posix(), path


def _pack(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[str, int]:
    """Packs as much of a file as there is now, and hashes the very bytes that were packed."""
    digest, left = hashlib.sha256(), path.stat().st_size
    written = 0
    with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as sink:
        while left > 0 and (chunk := source.read(min(_CHUNK, left))):
            digest.update(chunk)
            sink.write(chunk)
            left -= len(chunk)
            written += len(chunk)
    return digest.hexdigest(), written


def restore_backup(source: Path, data: Path, step: Callable[[], None] = lambda: None) -> Backup:
    """Unpacks a backup into an empty folder, after every part's hash was checked.

    Where it is interrupted, ``open_database`` refuses the folder: some slides would be missing.

    Raises:
        OutputExists: ``data`` holds something.
        DataError: no backup, a part is damaged, or it was made by a newer version.
        StorageError: the disk has less room than it unpacks to, or is not writable.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise OutputExists(f"{data} is not empty. Restore into a new folder.")
    with _opened(source) as archive:
        hashes = _index(source, archive)
        _check_room(source, sum(archive.getinfo(name).file_size for name in hashes), data)
        for name, expected in hashes.items():
            if _digest(archive, source, name) != expected:
                raise DataError(f"{source}: {name} is damaged. Use another backup.")
        size = 0
        with storage_errors(data):
            write_bytes(data / RESTORING, b"")
            folders = {data}
            for name in hashes:
                target = data / name
                target.parent.mkdir(parents=True, exist_ok=True)
                folders |= {data / parent for parent in PurePosixPath(name).parents}
                size += _unpack(archive, name, target)
                step()
            for folder in folders:
                fsync_directory(folder)
    with sqlite_errors(data / NAME):
        connection = connect(data / NAME)
        try:
            version_of(connection)
            _whole(data / NAME, connection)
        finally:
            connection.close()
    with storage_errors(data):
        (data / RESTORING).unlink()
        fsync_directory(data)
    slides = {PurePosixPath(name).parts[1] for name in hashes if name.startswith(f"{SLIDES}/")}
    return Backup(len(slides), len(hashes), size)


def _opened(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist.") from error
    except ZIP_ERRORS as error:
        raise DataError(f"{source} is no whole zip: {error}.") from error


def _check_room(source: Path, size: int, data: Path) -> None:
    """Asks before anything is unpacked: a zip of a few megabytes may promise a terabyte."""
    there = next(path for path in (data, *data.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if not (size <= free):
        raise StorageError(
            f"{source} unpacks to {size / 1e6:,.0f} MB, {there} has {free / 1e6:,.0f} MB left. "
            "Free some space, or restore to another disk."
        )


def _index(source: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    try:
        # Its size stands in the zip's directory; no entry gives more than is promised there.
        if not (archive.getinfo(INDEX).file_size <= _MAX_INDEX_BYTES):
            raise DataError(f"{source} is no backup of edge-malaria: its {INDEX} is far too large.")
        document = json.loads(archive.read(INDEX))
        files = document["files"]
        sound = document["format"] == FORMAT and document["schema_version"] == 1
    except (TypeError, RecursionError, *ZIP_ERRORS) as error:
        raise DataError(f"{source} is no backup of edge-malaria: {error}.") from error
    names = files if isinstance(files, dict) else {}
    if not sound or NAME not in names or not all(map(_safe, names)):
        raise DataError(f"{source} is no backup that this edge-malaria can read.")
    missing = sorted(set(names) - set(archive.namelist()))
    if missing:
        raise DataError(f"{source}: {missing[0]} is missing. Use another backup.")
    return {str(name): str(digest) for name, digest in names.items()}


def _safe(name: object) -> bool:
    """Only the database and files below ``FOLDERS`` are ever unpacked."""
    path = PurePosixPath(str(name))
    least = 3 if path.parts[:1] in ((SLIDES,), (UPLOADS,)) else 2
    inside = path.parts[:1] and path.parts[0] in FOLDERS and len(path.parts) >= least
    plain = not any(part in ("..", ".", "") or "\\" in part or ":" in part for part in path.parts)
    return str(name) == NAME or bool(inside and plain and not path.is_absolute())


def _digest(archive: zipfile.ZipFile, source: Path, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(name) as part:
            while chunk := part.read(_CHUNK):
                digest.update(chunk)
    except ZIP_ERRORS as error:
        raise DataError(f"{source}: {name} is damaged ({error}). Use another backup.") from error
    return digest.hexdigest()


def _unpack(archive: zipfile.ZipFile, name: str, target: Path) -> int:
    written = 0
    with archive.open(name) as part, target.open("wb") as sink:
        while chunk := part.read(_CHUNK):
            written += sink.write(chunk)
        sink.flush()
        os.fsync(sink.fileno())
    return written


def _whole(path: Path, connection: sqlite3.Connection) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise DataError(f"{path} is damaged after unpacking: {found[0]}. Use another backup.")
