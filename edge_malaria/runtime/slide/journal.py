"""The journal of a slide: one line a field, on the disk before the next field is looked at.

A power cut can only tear the last line, which reading cuts off again; everything in the report is
computed from the journal, so a resumed slide ends like one that was never interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_malaria.errors import DataError, StorageError, UsageError
from edge_malaria.files import fsync_directory, storage_errors

NAME = "journal.jsonl"
VERSION = 1


class Journal:
    """Appends records to ``directory/journal.jsonl``.

    Args:
        directory: the report directory; made where it is missing.
        header: what the run is; a resumed run must agree with it.
        resume: go on after the last whole line.

    Raises:
        UsageError: nothing to resume, or another run's journal.
        StorageError: disk full or not writable.
    """

    def __init__(self, directory: Path, header: dict[str, Any], *, resume: bool = False) -> None:
        self.path = directory / NAME
        self.header = {"journal": VERSION, **header}
        if resume:
            self._check(directory)
        with storage_errors(self.path):
            directory.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if not resume:
                os.ftruncate(self._handle, 0)
        self._good = self.path.stat().st_size
        if not resume:
            self.append(self.header)
            fsync_directory(directory)

    def _check(self, directory: Path) -> None:
        if not self.path.is_file():
            raise UsageError(f"nothing to resume: {directory} holds no {NAME}.")
        whole, records = _whole_lines(self.path)
        with storage_errors(self.path):
            os.truncate(self.path, whole)
        found = next(records, None)
        if found is None or found.get("journal") != VERSION:
            raise UsageError(f"{self.path} cannot be resumed: no header of this version in it.")
        different = [k for k, v in self.header.items() if found.get(k) != v]
        if different:
            raise UsageError(
                f"{directory} was made with another {', '.join(different)}. "
                "Resume with the same call, or choose another directory."
            )

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record and waits until the disk has it.

        Raises:
            StorageError: disk full or not writable; the journal then ends with the record before.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            with storage_errors(self.path):
                written = 0
                while written < len(line):
                    written += os.write(self._handle, line[written:])
                os.fsync(self._handle)
        except StorageError:
            # Half a line helps nobody: cut it off, as far as the disk still lets us.
            os.ftruncate(self._handle, self._good)
            raise
        self._good += len(line)

    def records(self) -> Iterator[dict[str, Any]]:
        """The fields' records, one at a time, in order."""
        _, records = _whole_lines(self.path)
        next(records, None)
        yield from records

    def close(self) -> None:
        """Closes the file."""
        os.close(self._handle)


def _whole_lines(path: Path) -> tuple[int, Iterator[dict[str, Any]]]:
    """Length in bytes of the whole, readable lines, and their records."""
    whole = 0
    try:
        with path.open("rb") as handle:
            for line in handle:
                if not line.endswith(b"\n") or _record(line) is None:
                    break
                whole += len(line)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from error

    def records() -> Iterator[dict[str, Any]]:
        read = 0
        with path.open("rb") as handle:
            for line in handle:
                read += len(line)
                if read > whole:
                    return
                record = _record(line)
                if record is not None:
                    yield record

    return whole, records()


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
