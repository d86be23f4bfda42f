"""Cameras, read so that a silent, stuck or failing one cannot hold up the program."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from edge_malaria.errors import EdgeMalariaError, HardwareError
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import Unreadable
from edge_malaria.runtime.sources.camera_drivers import Capture
from edge_malaria.runtime.sources.empty_place import (
    FlatField,
)

# The name of a camera's settings among a slide's facts.
CAMERA_FACT = "camera"
# Between two tries to open a camera that went away.
_PAUSE_S = 0.5


class CameraSource:
    """Frames of a camera, read by a thread so that a silent one ends in an error, not in a hang.

    A camera that repeats one picture bit by bit is stuck: a sensor's noise never repeats. One whose
    frames change their size would count places twice. Both are errors after ``timeout_s``; so is
    whatever a driver raises. A camera that had given a frame is then opened anew.

    Args:
        name: for the fields' names.
        opener: opens the camera; runs in the thread, as opening may hang too.
        timeout_s: a camera that delivers nothing usable for so long is a ``HardwareError``.
        reconnect_s: how long one that went away is waited for; 0 does not.
        flat: divides every frame by an empty place; None leaves them as they are.
    """

    live = True

    def __init__(
        self,
        name: str,
        opener: Callable[[], Capture],
        timeout_s: float,
        reconnect_s: float = 0.0,
        flat: FlatField | None = None,
    ) -> None:
        self.name, self._opener, self._timeout_s = name, opener, timeout_s
        self._reconnect_s, self._flat = reconnect_s, flat
        self._away = _Away(name)
        self._size_px: tuple[int, int] | None = None
        self.total: int | None = None
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}

    @property
    def away(self) -> bool:
        """Whether the camera went away and is waited for."""
        return self._away.now

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; always the newest frame."""
        index = 0
        while True:
            # One place: a frame that nobody took yet is replaced by the next one.
            frames: queue.Queue[Image | BaseException] = queue.Queue(maxsize=1)
            stop = threading.Event()
            reader = threading.Thread(target=self._read, args=(frames, stop), daemon=True)
            reader.start()
            try:
                for frame in self._usable(frames):
                    self._away.back(self.warnings)
                    while f"{self.name}#{index}" in skip:
                        index += 1
                    yield Field(self._even(frame), f"{self.name}#{index}", index, stream=True)
                    index += 1
            except HardwareError as error:
                # Before the first frame nobody waits: it is not there.
                if self._size_px is None or not self._away.patient(error, self._reconnect_s):
                    raise
            finally:
                stop.set()
            # A driver that hangs keeps the camera: it is given a moment.
            reader.join(_PAUSE_S)
            time.sleep(_PAUSE_S)

    def _even(self, frame: Image) -> Image:
        """The frame under even light, where an empty place of its size is known.

        Raises:
            HardwareError: the camera came back with another size: places would count twice.
        """
        size = (frame.shape[1], frame.shape[0])
        if self._size_px not in (None, size):
            raise HardwareError(
                f"{self.name} changed its frames from {_wide(self._size_px)} to {_wide(size)} px. "
                "Finish this slide and begin a new one."
            )
        if self._size_px is None and self._flat is not None and self._flat.size_px != size:
            self.warnings.append(
                f"The picture of an empty place has {_wide(self._flat.size_px)} px, the camera "
                f"gives {_wide(size)}: it is not applied. Take it anew."
            )
            self._flat = None
        self._size_px = size
        return frame if self._flat is None else self._flat.apply(frame)

    def _usable(self, frames: queue.Queue[Image | BaseException]) -> Iterator[Image]:
        """The frames that show something new, all of one size.

        Raises:
            HardwareError: none came for ``timeout_s``; says what came instead.
        """
        last: Image | None = None
        since, trouble = time.monotonic(), ""
        while True:
            left_s = since + self._timeout_s - time.monotonic()
            try:
                frame = frames.get(timeout=max(left_s, 0.001))
            except queue.Empty:
                raise self._useless(trouble) from None
            if isinstance(frame, BaseException):
                raise self._error(frame)
            if last is not None and frame.shape != last.shape:
                trouble = f"changed its frames from {_size(last)} to {_size(frame)} px"
            elif last is not None and _repeats(frame, last):
                trouble = "delivers one and the same picture again and again: it is stuck"
            else:
                last, trouble = frame, ""
                yield frame
                # Work on the frame is not the camera's time.
                since = time.monotonic()
                continue
            if left_s <= 0:
                raise self._useless(trouble)

    def _useless(self, trouble: str) -> HardwareError:
        what = trouble or f"delivered no frame for {self._timeout_s:g} s"
        return HardwareError(
            f"{self.name} {what}. Unplug it, plug it in again, and try another USB port."
        )

    def _error(self, error: BaseException) -> BaseException:
        if isinstance(error, EdgeMalariaError) or not isinstance(error, Exception):
            return error
        found = HardwareError(
            f"{self.name}: the camera's driver failed: {type(error).__name__}: {error}"
        )
        found.__cause__ = error
        return found

    def _read(self, frames: queue.Queue[Image | BaseException], stop: threading.Event) -> None:
        camera: Capture | None = None
        try:
            camera = self._opener()
            self._keep(camera)
            while not stop.is_set():
                frame = camera.read()
                if frame is None:
                    time.sleep(0.01)
                    continue
                _put_newest(frames, _checked(frame))
        except BaseException as error:
            _put_newest(frames, error)
        finally:
            if camera is not None:
                # Whoever waits for frames was told already.
                with suppress(Exception):
                    camera.close()

    def _keep(self, camera: Capture) -> None:
        """Notes what the camera was set to, and where that is not what it was before."""
        settings = dict(getattr(camera, "settings", {}))
        notes = list(getattr(camera, "notes", ()))
        if settings and self._flat is not None:
            notes += self._flat.place.remarks(settings)
            place = self._flat.place
            settings["empty_place"] = {"taken": place.taken, "sha256": place.sha256}
        # A camera that comes back says the same again.
        self.warnings.extend(note for note in notes if note not in self.warnings)
        before = self.facts.get(CAMERA_FACT)
        if settings and before and settings != before:
            names = ", ".join(sorted(k for k in settings if settings[k] != before.get(k)))
            self.warnings.append(f"The camera is not set as earlier on this slide: {names}.")
        if settings:
            self.facts[CAMERA_FACT] = settings


def _checked(frame: Any) -> Image:
    """A frame of three channels of 8 bits.

    Raises:
        HardwareError: it is anything else.
    """
    shape: Any = getattr(frame, "shape", ())
    kind = getattr(frame, "dtype", None)
    if len(shape) != 3 or shape[2] not in (3, 4) or kind != np.uint8 or 0 in shape:
        raise HardwareError(
            f"the camera delivers {kind} frames of shape {list(shape)}: expected 8-bit colour. "
            "Set fourcc under [camera] in a --config file."
        )
    return np.ascontiguousarray(frame[:, :, :3])


def _repeats(frame: Image, last: Image) -> bool:
    """Whether a frame is the one before it bit by bit; a field of one colour may well be."""
    if not np.array_equal(frame[::64], last[::64]) or not np.array_equal(frame, last):
        return False
    return bool(frame.min() != frame.max())


def _size(frame: Image) -> str:
    return _wide((frame.shape[1], frame.shape[0]))


def _wide(size_px: tuple[int, int] | None) -> str:
    return " x ".join(str(side) for side in size_px or ())


class _Away:
    """Counts how often and how long a camera was gone, for one sentence of the report."""

    def __init__(self, name: str) -> None:
        self._name, self._since, self._why = name, 0.0, ""
        self._times, self._seconds, self._told = 0, 0.0, ""

    @property
    def now(self) -> bool:
        """Whether it is gone."""
        return self._since > 0

    def patient(self, error: HardwareError, reconnect_s: float) -> bool:
        """Whether to wait on after ``error``."""
        now = time.monotonic()
        if not self._since:
            self._since, self._why = now, str(error)
        return now - self._since < reconnect_s

    def back(self, warnings: list[str]) -> None:
        """A frame came: where the camera had been away, the report says so."""
        if not self._since:
            return
        self._times, self._seconds = self._times + 1, self._seconds + time.monotonic() - self._since
        self._since = 0.0
        times = "once" if self._times == 1 else f"{self._times} times"
        text = (
            f"{self._name} went away {times}, for {self._seconds:.0f} s in all, and "
            f"came back. The last time: {self._why}"
        )
        if self._told in warnings:
            warnings.remove(self._told)
        warnings.append(text)
        self._told = text


def _put_newest(frames: queue.Queue[Image | BaseException], item: Image | BaseException) -> None:
    # The consumer may have taken the old one in between: then there is room already.
    with suppress(queue.Empty):
        frames.get_nowait()
    frames.put(item)
