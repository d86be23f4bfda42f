"""Sources that a person can end, and pictures that come from a phone."""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Generator, Iterator
from pathlib import Path
from typing import Any, Literal

from edge_malaria.files import encode_image, write_bytes
from edge_malaria.image_files.content import HEAD_BYTES, content_of
from edge_malaria.records import Field, Image
from edge_malaria.runtime.detect.light import shrink
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.sources.base import Source, Unreadable
from edge_malaria.runtime.sources.cameras import CameraSource
from edge_malaria.runtime.sources.files import read_fields
from edge_malaria.runtime.sources.following import FollowedFolder

Away = Literal["", "camera", "folder"]
MOST_UPLOADS = 2000
# The live picture: enough to see the focus on a phone, some 40 kB.
_LIVE_SIDE_PX, _LIVE_QUALITY = 800, 80


class UploadFolder:
    """The pictures that came from a phone for one slide, in the order in which they came.

    Each is stored whole under a name of our own before anybody hears that it arrived.
    """

    live = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.total: int | None = None
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        self.ended = threading.Event()
        self._more = threading.Condition()

    @property
    def waiting(self) -> list[Path]:
        """What came so far."""
        return sorted(self.folder.glob("photo-*")) if self.folder.is_dir() else []

    def add(self, data: bytes) -> str:
        """Stores one picture and returns the name of its field.

        Raises:
            Refused: it is no picture, or there are too many already.
            StorageError: disk full or not writable.
        """
        if content_of(data[:HEAD_BYTES]) != "picture":
            raise Refused("One of the files is no picture (JPEG, PNG, TIFF, WebP or BMP).")
        with self._more:
            number = 1 + max((int(p.name[6:]) for p in self.waiting), default=0)
            if number > MOST_UPLOADS:
                raise Refused("A slide takes at most %(most)s pictures.", most=MOST_UPLOADS)
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"photo-{number:05d}"
            write_bytes(path, data)
            self._more.notify_all()
        return path.name

    def end(self) -> None:
        """Ends ``fields``."""
        self.ended.set()
        with self._more:
            self._more.notify_all()

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; waits for more until ``end``."""
        taken: set[str] = set()
        index = 0
        while not self.ended.is_set():
            new = [path for path in self.waiting if path.name not in taken]
            for path in new:
                taken.add(path.name)
                for item in read_fields(path, path.name, index, skip):
                    index = max(index, item.index) + 1
                    yield item
            if not new:
                with self._more:
                    self._more.wait(0.5)


class UploadFolders:
    """The pictures from a phone, by slide.

    Args:
        folder: that holds a folder for each slide.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._known: dict[str, UploadFolder] = {}

    def of(self, slide: str) -> UploadFolder:
        """Those of one slide."""
        with self._lock:
            if slide not in self._known:
                self._known[slide] = UploadFolder(self._folder / slide)
            return self._known[slide]


class SteeredSource:
    """A source that ends when a person says so, and keeps the newest frame for the live page.

    Args:
        source: what gives the fields.
        facts: for the journal, beside the source's own.
    """

    def __init__(self, source: Source, facts: dict[str, Any]) -> None:
        self._source = source
        self.live, self.total = source.live, source.total
        self.warnings, self.facts = source.warnings, source.facts
        self.facts.update(facts)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._newest: tuple[int, Image] | None = None
        self._small: tuple[int, bytes] = (0, b"")
        self._drawing = threading.Lock()
        self._frames = 0
        self._heard = time.monotonic()
        self._at_work = False

    @property
    def waits(self) -> bool:
        """Whether silence is no fault: it waits for what a person or another program brings."""
        return not self._at_work and isinstance(self._source, UploadFolder | FollowedFolder)

    @property
    def away(self) -> Away:
        """What went away and is waited for, "" for nothing."""
        if isinstance(self._source, CameraSource):
            return "camera" if self._source.away else ""
        gone = isinstance(self._source, FollowedFolder) and not self._source.folder.is_dir()
        return "folder" if gone else ""

    @property
    def frames(self) -> int:
        """How many frames came by."""
        return self._frames

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame came or was worked on."""
        return time.monotonic() - self._heard

    def heard(self) -> None:
        """Notes that work went on."""
        self._heard = time.monotonic()

    def newest(self) -> tuple[int, Image] | None:
        """(number, picture) of the newest frame, uint8 [H, W, 3] RGB."""
        with self._lock:
            return self._newest

    def newest_jpeg(self) -> bytes:
        """The newest frame, small, as a JPEG; empty before the first.

        Twenty phones ask for the same picture: it is made once.
        """
        with self._drawing:
            newest = self.newest()
            if newest is not None and newest[0] != self._small[0]:
                number, image = newest
                small = shrink(image, min(1.0, _LIVE_SIDE_PX / max(image.shape[:2])))
                self._small = number, encode_image(small, ".jpg", _LIVE_QUALITY)
            return self._small[1]

    def stop(self) -> None:
        """Ends ``fields`` behind the frame at hand."""
        self._stop.set()
        if isinstance(self._source, UploadFolder):
            self._source.end()
        elif isinstance(self._source, FollowedFolder):
            self._source.ended.set()

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``."""
        items = iter(self._source.fields(skip))
        try:
            while not self._stop.is_set() and (item := next(items, None)) is not None:
                self.heard()
                if isinstance(item, Field):
                    with self._lock:
                        self._frames += 1
                        self._newest = self._frames, item.image
                self._at_work = True
                yield item
                self._at_work = False
        finally:
            if isinstance(items, Generator):
                items.close()
