"""A folder that another program writes fields into while it is watched."""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from edge_malaria.files import printable
from edge_malaria.records import Field
from edge_malaria.runtime.sources.base import SourceSettings, Unreadable
from edge_malaria.runtime.sources.files import read_fields
from edge_malaria.runtime.sources.listing import listed, named
from edge_malaria.runtime.sources.names import FieldNames

# A writer may pause; what has not changed for so long and is still broken stays broken.
_BROKEN_AFTER_S = 30.0


class FollowedFolder:
    """A folder that another program writes into; takes each file once it is whole.

    A file is taken when its size and time stand still between two looks and its end is there. Ages
    are counted by this machine's monotonic clock from the last change seen: the writer's clock, as
    on a shared folder, may be another.
    """

    live = True

    def __init__(self, folder: Path, settings: SourceSettings) -> None:
        self.folder, self.settings = folder, settings
        self.total: int | None = None
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        # name -> (size and time of the file, when that was first seen)
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._taken: set[str] = set()
        # Whoever watches may end it; it then ends as if no more fields came.
        self.ended = threading.Event()

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; ends after ``follow_idle_s`` without a new field, if that is set."""
        index, last = 0, time.monotonic()
        names = FieldNames(skip, self.folder)
        try:
            while True:
                for name, path in names.settle(named(listed(self.folder).pictures, self.folder)):
                    items = self._take(name, path, index, skip)
                    if items is None:
                        continue
                    last = time.monotonic()
                    index += 1
                    for item in items:
                        index = max(index, item.index + 1)
                        if item.name not in skip:
                            yield item
                idle = self.settings.follow_idle_s
                if idle > 0 and time.monotonic() - last > idle:
                    return
                if self.ended.wait(self.settings.poll_s):
                    return
        finally:
            self._tell_left_out()

    def _take(
        self, name: str, path: Path, index: int, skip: Container[str]
    ) -> list[Field | Unreadable] | Iterator[Field | Unreadable] | None:
        """The file's fields once it is whole, or broken for long; None where it has to wait."""
        if name in self._taken:
            return None
        state = _state(path)
        known = self._seen.get(name)
        if state is None or known is None or known[0] != state:
            if state is not None:
                self._seen[name] = (state, time.monotonic())
            return None
        if state[0] == 0:
            # Its writer has only just opened it, however long ago that is.
            return None
        fields = read_fields(path, name, index, skip)
        first = next(fields, None)
        if isinstance(first, Unreadable) and time.monotonic() - known[1] < max(
            _BROKEN_AFTER_S, 10 * self.settings.poll_s
        ):
            return None
        self._taken.add(name)
        self._seen.pop(name)
        return _with_first(first, fields)

    def _tell_left_out(self) -> None:
        where = printable(str(self.folder))
        if self._seen:
            names = ", ".join(sorted(self._seen)[:3])
            many = "1 file" if len(self._seen) == 1 else f"{len(self._seen)} files"
            self.warnings.append(f"{many} in {where} never became whole: {names}.")
        self.warnings.extend(listed(self.folder).left_out(where))


def _with_first(
    first: Field | Unreadable | None, rest: Iterator[Field | Unreadable]
) -> Iterator[Field | Unreadable]:
    if first is not None:
        yield first
    del first
    yield from rest


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
