"""The journal of a slide: one line a field, on the disk before the next field is looked at.

Everything in the report is computed from the journal, so a resumed slide ends like one that was
never interrupted. Each line is one JSON object with a checksum of its own; its kinds stand in
``lines``. A power cut can tear the last line: that tail is set aside in ``journal.torn`` and cut
off when the next line is written, never before. A line that is damaged, impossible or there twice
is skipped and named; it is never cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_malaria.disk_sync import fsync_directory, fsync_file
from edge_malaria.errors import OutputExists, UsageError
from edge_malaria.files import storage_errors
from edge_malaria.runtime.slide.directory_lock import DirectoryLock
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal_file import ended_lines, read_header, torn_tail
from edge_malaria.runtime.slide.line_coding import decoded, encoded
from edge_malaria.runtime.slide.lines import HeaderLine, Line, ReviewLine, SlideLine
from edge_malaria.runtime.slide.signature import SAMPLE_FACT, Signature, signature_of

NAME = "journal.jsonl"
TORN_NAME = "journal.torn"


@dataclass(frozen=True)
class LineFault:
    """A line that was skipped.

    Attributes:
        number: of the line, from 1.
        why: what is wrong with it.
    """

    number: int
    why: str

    def __str__(self) -> str:
        return f"line {self.number} of {NAME} was skipped: {self.why}"


class Journal:
    """Reads ``directory/journal.jsonl`` and appends to it; one process at a time.

    Args:
        directory: the report directory; made where it is missing.
        header: what the run is; a resumed run must agree with it. None takes the one that is
            there (a review, a report written anew).
        resume: go on after the last whole line.

    Attributes:
        header: the journal's.
        faults: lines that were skipped, as far as was read.
        notes: what the user should know of this journal and its disk.

    Raises:
        UsageError: nothing to resume, another run's journal, another version's, or in use.
        StorageError: disk full or not writable.
    """

    def __init__(
        self, directory: Path, header: HeaderLine | None = None, *, resume: bool = False
    ) -> None:
        self.path = directory / NAME
        self.notes: list[str] = []
        self._faults: dict[int, LineFault] = {}
        self._handle = -1
        # Read when a field or a decision comes: most that open a journal add none.
        self._signature: Signature | None = None
        self._signature_read = not resume
        if resume:
            read_header(self.path)
        with storage_errors(self.path):
            directory.mkdir(parents=True, exist_ok=True)
        self._lock = DirectoryLock(directory)
        try:
            self._open(header, resume)
        except BaseException:
            self.close()
            raise

    def _open(self, header: HeaderLine | None, resume: bool) -> None:
        if resume:
            self.header = self._agreed(header)
            self._lines = sum(1 for _ in ended_lines(self.path))
        elif header is None:
            raise UsageError("a new journal needs a header.")
        else:
            self.header, self._lines = header, 0
        with storage_errors(self.path):
            flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
            # A journal that is there is never written over.
            flags |= 0 if resume else os.O_CREAT | os.O_EXCL
            self._handle = self._opened(flags)
        if not resume:
            self.append(self.header)
            with storage_errors(self.path):
                fsync_directory(self.path.parent)

    def _opened(self, flags: int) -> int:
        try:
            return os.open(self.path, flags, 0o644)
        except FileExistsError as error:
            raise OutputExists(f"{self.path} exists. Add --resume to go on with it.") from error

    @property
    def faults(self) -> list[LineFault]:
        """Lines that were skipped, in order."""
        return [self._faults[number] for number in sorted(self._faults)]

    @property
    def line_count(self) -> int:
        """Lines so far, the skipped ones included: a number that no later field gets again."""
        return self._lines

    def _agreed(self, header: HeaderLine | None) -> HeaderLine:
        found = read_header(self.path)
        different = [] if header is None else found.different(header)
        if different:
            raise UsageError(
                f"{self.path.parent} was made with another {', '.join(different)}. "
                "Resume with the same call, or choose another directory."
            )
        return found

    def append(self, line: Line) -> None:
        """Writes one line and waits until the disk has it.

        Raises:
            UsageError: a field or a decision, and the slide is signed.
            StorageError: disk full or not writable; the journal then ends with the line before.
        """
        if isinstance(line, FieldLine | ReviewLine):
            self.expect_unsigned()
        data = encoded(line)
        with storage_errors(self.path):
            good = self._whole_end()
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._handle, data[written:])
                fsync_file(self._handle, self.path)
            except OSError:
                # Half a line helps nobody: cut it off, as far as the disk still lets us.
                with suppress(OSError):
                    os.ftruncate(self._handle, good)
                raise
        self._lines += 1
        if isinstance(line, SlideLine) and line.name == SAMPLE_FACT:
            self._signature, self._signature_read = signature_of({line.name: line.value}), True

    def expect_unsigned(self) -> None:
        """Refuses further fields and decisions where the slide is signed.

        Raises:
            UsageError: it is; the message says by whom.
        """
        if not self._signature_read:
            self._signature, self._signature_read = signature_of(self.facts()), True
        if self._signature is not None:
            raise UsageError(
                f"{self.path.parent} was signed by {self._signature.by or 'somebody'} "
                f"({self._signature.at or 'no date'}): a signed slide is closed. Screen it anew "
                "into another directory."
            )

    def _whole_end(self) -> int:
        """Where the next line starts; sets a torn tail aside and cuts it off."""
        size = os.fstat(self._handle).st_size
        tail = torn_tail(self.path, size)
        if not tail:
            return size
        try:
            decoded(tail)
        except ValueError:
            pass
        else:
            # Only the end of the line is missing.
            return size + os.write(self._handle, b"\n")
        torn = self.path.with_name(TORN_NAME)
        with torn.open("ab") as copy:
            copy.write(tail + b"\n")
            copy.flush()
            fsync_file(copy.fileno(), torn)
        fsync_directory(self.path.parent)
        os.ftruncate(self._handle, size - len(tail))
        self.notes.append(
            f"the last line of {NAME} was torn, as by a power cut: its {len(tail)} bytes were "
            f"set aside in {TORN_NAME}."
        )
        return size - len(tail)

    def lines(self) -> Iterator[Line]:
        """The sound lines behind the header, one at a time, in order; a field's line once."""
        names: set[str] = set()
        for number, data in ended_lines(self.path):
            if number == 1:
                continue
            try:
                line = decoded(data)
                if isinstance(line, HeaderLine):
                    raise ValueError("a second header")
                if isinstance(line, FieldLine):
                    if line.field in names:
                        raise ValueError(f"field {line.field} was recorded before")
                    names.add(line.field)
            except (ValueError, UsageError) as error:
                self._faults[number] = LineFault(number, f"{error}.")
                continue
            yield line

    def fields(self) -> Iterator[FieldLine]:
        """The fields' lines."""
        return (line for line in self.lines() if isinstance(line, FieldLine))

    def reviews(self) -> Iterator[ReviewLine]:
        """All decisions of readers, in the order in which they were made."""
        return (line for line in self.lines() if isinstance(line, ReviewLine))

    def facts(self) -> dict[str, Any]:
        """What was fixed on the way: name -> the latest value."""
        return {line.name: line.value for line in self.lines() if isinstance(line, SlideLine)}

    def close(self) -> None:
        """Closes the file and lets others write."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._lock.release()
