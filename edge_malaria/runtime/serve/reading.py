"""Slides that persons look at: their journals, held open as long as somebody works on them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_malaria.records import SlideReport
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.lines import ReviewDecision

# So many journals are held open at once; opening one reads it through.
_MOST_OPEN = 4


@dataclass(frozen=True)
class FieldEntry:
    """What the list of fields shows of one.

    Attributes:
        number: its place in the journal, from 0.
        name: as the source named it.
        reason: why it was refused, "" where it was counted.
        counted, flagged: cells.
        picture, view: files below the slide's directory, "" for none.
        focus: edge steepness times cell radius; None where it was not measured.
    """

    number: int
    name: str
    reason: str
    counted: int
    flagged: int
    picture: str
    view: str
    focus: float | None = None


class OpenSlide:
    """One slide's review, with its report as of the latest decision.

    Args:
        directory: the slide's.

    Raises:
        UsageError: no report yet, or another process writes into it.
        DataError: the journal cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self.session = ReviewSession(directory)
        self._report: SlideReport | None = None
        self._fields: list[FieldEntry] | None = None

    def report(self) -> SlideReport:
        """The report, written anew where a decision came after it.

        Raises:
            StorageError: disk full or not writable.
        """
        if self._report is None:
            self._report = self.session.write_report()
        return self._report

    def know(self, report: SlideReport) -> None:
        """Takes the report that a run has just written."""
        self._report = report

    def decide(self, field: str, index: int, decision: ReviewDecision, reader: str) -> None:
        """See ``ReviewSession.decide``."""
        self.session.decide(field, index, decision, reader)
        self._report = None

    @property
    def fields(self) -> list[FieldEntry]:
        """Every field in the order of the journal."""
        if self._fields is None:
            self._fields = [
                FieldEntry(
                    number, line.field, line.reason, line.counted, line.likely, line.picture,
                    line.view, line.quality.get("focus"),
                )
                for number, line in enumerate(self.session.journal.fields())
            ]  # fmt: skip
        return self._fields

    def field(self, number: int) -> FieldLine | None:
        """One field's whole line."""
        for place, line in enumerate(self.session.journal.fields()):
            if place == number:
                return line
        return None


class OpenSlides:
    """The slides that are held open; each is used by one thread at a time.

    Args:
        directory: of the slides.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._barred: set[str] = set()
        self._over = False
        self._open: OrderedDict[str, tuple[threading.RLock, OpenSlide]] = OrderedDict()

    @contextmanager
    def use(self, slide: str) -> Iterator[OpenSlide]:
        """A slide, for this thread alone as long as it lasts.

        Raises:
            UsageError: barred; also see ``OpenSlide``.
            DataError: see ``OpenSlide``.
        """
        while True:
            lock, opened = self._opened(slide)
            # Waited for outside of the common lock: whoever reads another slide goes on.
            with lock:
                if self._open.get(slide) == (lock, opened):
                    yield opened
                    return

    def _opened(self, slide: str) -> tuple[threading.RLock, OpenSlide]:
        with self._lock:
            if self._over or slide in self._barred:
                raise Refused("This slide is being read. Pause or finish it first.")
            if slide not in self._open:
                self._make_room()
                self._open[slide] = (threading.RLock(), OpenSlide(self._directory / slide))
            self._open.move_to_end(slide)
            return self._open[slide]

    def _make_room(self) -> None:
        """Closes what nobody uses just now, the longest unused first; the common lock is held."""
        for slide in list(self._open)[: max(0, len(self._open) - _MOST_OPEN + 1)]:
            lock, opened = self._open[slide]
            if lock.acquire(blocking=False):
                try:
                    del self._open[slide]
                    opened.session.close()
                finally:
                    lock.release()

    def bar(self, slide: str) -> None:
        """Closes a slide's journal to everybody here, so that a run can write it."""
        with self._lock:
            self._barred.add(slide)
            found = self._open.pop(slide, None)
        # Whoever still uses it may need the common lock to come to an end.
        if found is not None:
            with found[0]:
                found[1].session.close()

    def unbar(self, slide: str) -> None:
        """The inverse of ``bar``."""
        with self._lock:
            self._barred.discard(slide)

    def shut_all(self) -> None:
        """Closes all; nobody comes in any more."""
        with self._lock:
            self._over = True
        for slide in list(self._open):
            self.bar(slide)
