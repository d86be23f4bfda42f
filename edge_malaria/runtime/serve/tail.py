"""Reads a journal that another part of the program is writing, line by line as it grows."""

from __future__ import annotations

from pathlib import Path

from edge_malaria.errors import UsageError
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.line_coding import decoded


class JournalTail:
    """The fields' lines of a growing journal.

    Args:
        path: of the journal; it may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new(self) -> list[FieldLine]:
        """The whole lines of fields since the last call; damaged ones are passed over."""
        if not self._path.is_file():
            return []
        found: list[FieldLine] = []
        with self._path.open("rb") as handle:
            handle.seek(self._offset)
            while (data := handle.readline()).endswith(b"\n"):
                self._offset += len(data)
                try:
                    line = decoded(data)
                except (ValueError, UsageError):
                    # The run itself names such a line in the report.
                    continue
                if isinstance(line, FieldLine):
                    found.append(line)
        return found
