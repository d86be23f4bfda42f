"""The slides of this device: made, read, paused, finished, judged and signed.

The journal of a slide is the truth; the worklist follows it. One slide is read at a time: there is
one camera and one small processor.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace

from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import EdgeMalariaError, StorageError
from edge_malaria.records import SlideReport
from edge_malaria.runtime.screen.screening import ScreenCall, Screened
from edge_malaria.runtime.serve.cameras import Cameras
from edge_malaria.runtime.serve.entries import judged_entry, named, new_entry
from edge_malaria.runtime.serve.judging import Judging
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.running import RunningSlide, trouble_of
from edge_malaria.runtime.serve.settings import SITES, UPLOADS, ServeSettings
from edge_malaria.runtime.serve.signed import sign_entry
from edge_malaria.runtime.serve.steered import SteeredSource, UploadFolder, UploadFolders
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.slide.counts import DEFAULT_RBC_PER_UL
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.signature import SAMPLE_FACT
from edge_malaria.runtime.slide.site_profile import read_site
from edge_malaria.runtime.sources.base import Source
from edge_malaria.runtime.store.disk import room
from edge_malaria.runtime.store.slides import SlideEntry, State

# A field and its pictures take at most some 3 MB: with less room no slide is begun.
LEAST_ROOM_BYTES = 100_000_000


class Desk(Judging):
    """All that can be done with slides.

    Args:
        store: the database.
        bundle: that runs.
        settings: of the server.

    Attributes:
        notes: what went wrong when the device started, in words.
        cameras: of this device.
    """

    def __init__(self, store: Store, bundle: Bundle, settings: ServeSettings) -> None:
        super().__init__(store, settings)
        self.bundle, self.cameras = bundle, Cameras(settings)
        self._targets = settings.targets
        self._lock = threading.RLock()
        self._uploads = UploadFolders(settings.data / UPLOADS)
        self._trouble: dict[str, str] = {}
        self.notes = self._entries.wake()

    @property
    def sites(self) -> list[str]:
        """The site profiles' file names."""
        folder = self.settings.data / SITES
        return sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []

    def make(
        self,
        sample: str,
        reader: str,
        *,
        site: str = "",
        rbc_per_ul: float = DEFAULT_RBC_PER_UL,
        source: str = "",
    ) -> SlideEntry:
        """A new slide on the worklist.

        Raises:
            UsageError: an impossible sample code, reader, site or source.
        """
        if site and site not in self.sites:
            raise Refused("This site profile is not on this device.")
        wanted = source or self.settings.choices[0]
        if wanted not in self.settings.choices:
            raise Refused("This source is not on this device.")
        entry = new_entry(sample, reader, site=site, rbc_per_ul=rbc_per_ul, source=wanted)
        self._put(entry)
        return entry

    @property
    def running(self) -> RunningSlide | None:
        """The slide that is being read."""
        return self._running

    @property
    def stuck(self) -> bool:
        """Whether the running slide stands still although its source should give fields."""
        running = self._running
        return running is not None and running.stuck

    def trouble(self, slide: str) -> str:
        """What ended the slide's latest run, "" where nothing did."""
        return self._trouble.get(slide, "")

    def start(self, slide: str) -> bool:
        """Reads a slide from now on, or goes on with it.

        Returns:
            False where it is being read already: a second tap on the button.

        Raises:
            UsageError: signed, another slide runs, or the source cannot be.
            DataError: no room on the disk, or a site profile that cannot be read.
        """
        with self._lock:
            entry = self.get(slide)
            if entry.state == "signed":
                raise Refused("A signed slide is closed.")
            if self._running is not None and self._running.slide == slide:
                return False
            if self._running is not None:
                raise Refused("Another slide is being read. Pause or finish it first.")
            if room(self.settings.data).free_bytes < LEAST_ROOM_BYTES:
                raise Refused("Hardly any room on the disk. Move old slides away first.")
            directory = self.directory(slide)
            site = read_site(self.settings.data / SITES / entry.site) if entry.site else None
            begun = replace(entry, state="running")
            source = SteeredSource(self._source(entry), {SAMPLE_FACT: begun.fact().value})
            call = ScreenCall(
                directory,
                (entry.source,),
                entry.rbc_per_ul,
                resume=(directory / JOURNAL_NAME).is_file(),
                threads=self.settings.threads,
                site=site,
            )
            running = RunningSlide(slide, source, self.bundle, self.settings, call, self._ended)
            self._trouble.pop(slide, None)
            self._put(begun)
            self._open.bar(slide)
            self._running = running
            running.start()
        return True

    def _source(self, entry: SlideEntry) -> Source:
        if entry.source == UPLOADS:
            folder = self.uploads(entry.id)
            folder.ended.clear()
            return folder
        return self.cameras.open(entry.source)

    def take_empty_place(self, source: str) -> None:
        """Takes the picture of a camera's empty place.

        Raises:
            UsageError: a slide is being read, or see ``Cameras.take``.
            HardwareError, StorageError: see there.
        """
        with self._lock:
            if self._running is not None:
                raise Refused("Another slide is being read. Pause or finish it first.")
            self.cameras.take(source)

    def uploads(self, slide: str) -> UploadFolder:
        """The pictures from a phone of one slide."""
        return self._uploads.of(slide)

    def upload(self, slide: str, pictures: list[bytes]) -> int:
        """Takes pictures from a phone; each is on the disk when this returns.

        Raises:
            UsageError: the slide takes none, or one of them is no picture.
            StorageError: disk full or not writable.
        """
        entry = self.get(slide)
        if entry.source != UPLOADS or entry.state == "signed":
            raise Refused("This slide takes no pictures from a phone.")
        folder = self.uploads(slide)
        for data in pictures:
            folder.add(data)
        return len(pictures)

    def stop(self, slide: str, wish: State, timeout_s: float = 60.0) -> bool:
        """Pauses or finishes a slide; waits until its report is written.

        Returns:
            False where there was nothing to do: a second tap, or a page from before.

        Raises:
            UsageError: it cannot be finished: nothing was read yet.
        """
        running = self.running_of(slide)
        if running is not None:
            running.stop(wish)
            running.join(timeout_s)
            return True
        entry = self.get(slide)
        if wish == "finished" and entry.state == "paused":
            self._settle(slide, "finished")
            return True
        if wish == "finished" and entry.state == "new":
            raise Refused("Nothing was read of this slide yet.")
        return False

    def _ended(self, running: RunningSlide, done: Screened | None, error: Exception | None) -> None:
        """In the run's thread: what it left enters the worklist and the journal."""
        slide = running.slide
        over = error is None and (running.wish or "finished") == "finished"
        self._open.unbar(slide)
        try:
            if error is not None:
                self._trouble[slide] = trouble_of(error)
            if done is None and not (self.directory(slide) / JOURNAL_NAME).is_file():
                self._put(replace(self.get(slide), state="new"))
            else:
                report = done.report if done is not None else None
                self._settle(slide, "finished" if over else "paused", report)
        except EdgeMalariaError as second:
            self._trouble[slide] = trouble_of(error or second)
            # The same full disk may not even take this; it is paused all the same (``get``).
            with self._lock, suppress(StorageError):
                self._put(replace(self.get(slide), state="paused"))
        finally:
            with self._lock:
                self._running = None

    def _settle(self, slide: str, state: State, report: SlideReport | None = None) -> None:
        """Brings the worklist and the journal's own fact to ``state``."""
        with self._open.use(slide) as opened:
            if report is not None:
                opened.know(report)
            entry = judged_entry(replace(self.get(slide), state=state), opened.report())
            opened.session.journal.append(entry.fact())
        self._put(entry)

    def sign(self, slide: str, who: str) -> SlideEntry:
        """Signs a slide: nothing about it changes from then on.

        Raises:
            UsageError: not finished, signed already, or flagged cells wait for a person.
            StorageError: disk full or not writable; nothing was signed.
        """
        with self._lock, self.reading(slide) as opened:
            entry = self.get(slide)
            if entry.state != "finished":
                raise Refused("Only a finished slide can be signed, and only once.")
            report = opened.report()
            waiting = report.review["flagged"] - report.review["reviewed"]
            if waiting:
                raise Refused("Flagged cells that wait for a person: %(waiting)s.", waiting=waiting)
            signed = sign_entry(opened, judged_entry(entry, report), report, named(who))
            self._entries.put_signed(signed, self._targets)
        return signed

    def close(self, timeout_s: float = 60.0) -> None:
        """Pauses what runs and closes every journal."""
        running = self._running
        if running is not None:
            running.stop("paused")
            running.join(timeout_s)
        self._open.shut_all()
