"""Slides that were read: looked at, judged cell by cell, and as they were signed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_malaria.records import SlideReport
from edge_malaria.runtime.serve.entries import Entries, judged_entry
from edge_malaria.runtime.serve.reading import OpenSlide, OpenSlides
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.running import RunningSlide
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.signed import signed_document
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.slide.lines import ReviewDecision
from edge_malaria.runtime.store.slides import SLIDES, SlideEntry


class Judging:
    """The worklist, and what persons decide on slides of it.

    Args:
        store: the database.
        settings: of the server.
    """

    def __init__(self, store: Store, settings: ServeSettings) -> None:
        self.settings = settings
        self._entries = Entries(store)
        self._running: RunningSlide | None = None
        self._open = OpenSlides(settings.data / SLIDES)

    def entries(self) -> list[SlideEntry]:
        """The worklist, the latest slide first."""
        return [self._as_it_is(entry) for entry in self._entries.all()]

    def get(self, slide: str) -> SlideEntry:
        """One entry.

        Raises:
            NotHere: no such slide.
        """
        return self._as_it_is(self._entries.get(slide))

    def _as_it_is(self, entry: SlideEntry) -> SlideEntry:
        """A slide that no thread reads is paused, also where a full disk could not note that."""
        over = entry.state == "running" and self.running_of(entry.id) is None
        return replace(entry, state="paused") if over else entry

    def _put(self, entry: SlideEntry) -> None:
        self._entries.put(entry)

    def directory(self, slide: str) -> Path:
        """Where its journal and report lie."""
        return self.settings.data / SLIDES / slide

    def running_of(self, slide: str) -> RunningSlide | None:
        """The same where it is this slide."""
        running = self._running
        return running if running is not None and running.slide == slide else None

    @contextmanager
    def reading(self, slide: str) -> Iterator[OpenSlide]:
        """A slide to look at or to judge.

        Raises:
            UsageError: unknown, running, or without a report.
        """
        entry = self.get(slide)
        if entry.state == "new":
            raise Refused("Nothing was read of this slide yet.")
        if self.running_of(slide) is not None:
            raise Refused("This slide is being read. Pause or finish it first.")
        with self._open.use(slide) as opened:
            yield opened

    def decide(
        self, slide: str, field: str, index: int, decision: ReviewDecision, reader: str
    ) -> None:
        """One decision on one flagged cell: on the disk when this returns.

        Raises:
            UsageError: the slide is signed or being read.
            DataError: no such flagged cell, or an impossible decision.
            StorageError: disk full or not writable; nothing was decided.
        """
        with self.reading(slide) as opened:
            if self.get(slide).state == "signed":
                raise Refused("A signed slide is closed.")
            opened.decide(field, index, decision, reader)
            count = opened.session.review.count()
        entry = self.get(slide)
        if count.complete or entry.basis == "reader":
            # The verdict is another one now: the worklist may not show the one before.
            self.judged(slide)
        else:
            self._put(replace(entry, reviewed=count.reviewed))

    def judged(self, slide: str) -> SlideReport:
        """The slide's report as of now, or as it was signed; the worklist follows it.

        Raises:
            UsageError, StorageError: see ``reading`` and ``OpenSlide.report``.
            DataError: what was signed is missing or was changed.
        """
        if self.get(slide).state == "signed":
            return self.signed(slide)[0]
        with self.reading(slide) as opened:
            report = opened.report()
        entry = self.get(slide)
        fresh = judged_entry(entry, report)
        if fresh != entry:
            self._put(fresh)
        return report

    def signed(self, slide: str) -> tuple[SlideReport, dict[str, Any]]:
        """The report and the FHIR document that were signed.

        Raises:
            DataError: they are missing, or not what was signed.
        """
        return signed_document(self.directory(slide), self.get(slide).signed_sha256)
