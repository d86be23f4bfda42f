"""A source whose first field is there: nothing of an earlier report is deleted before."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterator

from edge_malaria.records import Field
from edge_malaria.runtime.sources.base import Source, Unreadable


class OpenedSource:
    """A source that has given its first field already: it does open."""

    def __init__(self, source: Source) -> None:
        self.live, self.total = source.live, source.total
        self.warnings, self.facts = source.warnings, source.facts
        self._rest = iter(source.fields())
        self._first = next(self._rest, None)

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``."""
        first, self._first = self._first, None
        try:
            if first is not None and first.name not in skip:
                yield first
            del first
            yield from (item for item in self._rest if item.name not in skip)
        finally:
            # Lets a camera go at once.
            if isinstance(self._rest, Generator):
                self._rest.close()
