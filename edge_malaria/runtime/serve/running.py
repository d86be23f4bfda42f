"""A slide that is being read: the real screening, in a thread, followed through its journal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.screen.screening import ScreenCall, Screened, screen
from edge_malaria.runtime.screen.slide_errors import slide_errors
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.serve.outlook import LatestOutlook, Outlook
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.steered import SteeredSource
from edge_malaria.runtime.serve.tail import JournalTail
from edge_malaria.runtime.slide.field_line import SEEN_BEFORE, FieldLine
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.statistics import SlideStatistics
from edge_malaria.runtime.slide.totals import SlideTotals

# So many frames without a new field mean that the stage stands still.
_STANDING_FRAMES = 3


@dataclass(frozen=True)
class Seen:
    """What the live page shows of a running slide.

    Attributes:
        fields, accepted, cells, flagged: so far.
        reason: why the latest field was refused, "" where it was counted.
        measures: of the latest field's quality.
        standing: whether frames come, but of a place that was counted already.
        frame: the number of the newest frame, 0 before the first.
    """

    fields: int
    accepted: int
    cells: int
    flagged: int
    reason: str
    measures: dict[str, float]
    standing: bool
    frame: int


class RunningSlide:
    """One slide on its way.

    Args:
        slide: its id.
        source: of the fields.
        bundle, settings: what runs.
        call: of the screening.
        ended: called in the thread when it is over, with what it left or what ended it.
    """

    def __init__(
        self,
        slide: str,
        source: SteeredSource,
        bundle: Bundle,
        settings: ServeSettings,
        call: ScreenCall,
        ended: Callable[[RunningSlide, Screened | None, Exception | None], None],
    ) -> None:
        self.slide, self.source = slide, source
        self._bundle, self.settings, self._call, self._ended = bundle, settings, call, ended
        self._tail = JournalTail(call.directory / JOURNAL_NAME)
        self._lock = threading.Lock()
        self.totals = SlideTotals()
        self._last: FieldLine | None = None
        self._frames_at_last = 0
        self.wish = ""
        errors = call.site.errors if call.site else slide_errors(bundle)
        self.statistics = SlideStatistics(errors, settings.config.verdict)
        self._outlook = LatestOutlook(self.statistics)
        self._thread = threading.Thread(target=self._run, name=f"slide {slide}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, wish: str) -> None:
        """Asks it to end behind the field at hand: ``paused`` or ``finished``."""
        self.wish = wish
        self.source.stop()

    def join(self, timeout_s: float) -> bool:
        """Waits for the end; whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def stuck(self) -> bool:
        """Whether nothing was heard for too long, from a source that should be heard."""
        waits = self.source.waits
        return not waits and not (self.source.silent_s <= self.settings.stall_s)

    def seen(self) -> Seen:
        """What happened so far."""
        with self._lock:
            totals, last = self.totals, self._last
            frames = self.source.frames
            reason = last.reason if last else ""
            standing = (
                self.source.live and frames - self._frames_at_last >= _STANDING_FRAMES
            ) or reason == SEEN_BEFORE
            return Seen(
                totals.seen,
                totals.accepted,
                totals.cells,
                totals.likely,
                reason,
                dict(last.quality) if last else {},
                standing,
                frames,
            )

    def outlook(self) -> Outlook:
        """What the counts so far say, a little behind them."""
        with self._lock:
            count = self.totals.count
        return self._outlook.of(count)

    def _step(self) -> None:
        """After each item: takes up what the journal got."""
        self.source.heard()
        lines = self._tail.new()
        with self._lock:
            for line in lines:
                self.totals.add(line, 0)
                self._last, self._frames_at_last = line, self.source.frames

    def _run(self) -> None:
        done: Screened | None = None
        error: Exception | None = None
        try:
            self._step()
            done = self._screen()
            error = done.error
        except Exception as caught:
            error = caught
        self._ended(self, done, error)

    def _screen(self) -> Screened:
        site = self._call.site
        classifier = Classifier(
            self._bundle,
            self.settings.variant,
            self.settings.engine,
            "screening",
            self.settings.threads,
            threshold=None if site is None else site.screening,
        )
        config = self.settings.config
        return screen(
            self.source, self._bundle, classifier, self._call, config, ScreenOptions(), self._step
        )


def trouble_of(error: Exception) -> str:
    """What a person is told of an error: ours in its own words, others by their kind."""
    if isinstance(error, EdgeMalariaError):
        return str(error)
    return f"{type(error).__name__}: {str(error)[:200]}"
