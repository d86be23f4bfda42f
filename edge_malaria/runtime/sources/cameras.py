"""Cameras, read so that a silent, stuck or failing one cannot hold up the program."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from edge_malaria.errors import EdgeMalariaError, HardwareError, UsageError
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import CameraSettings, Source, SourceSettings, Unreadable
from edge_malaria.runtime.sources.camera_drivers import Capture, PiCamera, UsbCamera

# The name of a camera's settings among a slide's facts.
CAMERA_FACT = "camera"


class CameraSource:
    """Frames of a camera, read by a thread so that a silent one ends in an error, not in a hang.

    A camera that repeats one picture bit by bit is stuck: a sensor's noise never repeats. One whose
    frames change their size would count places twice. Both are errors after ``timeout_s``; so is
    whatever a driver raises.

    Args:
        name: for the fields' names.
        opener: opens the camera; runs in the thread, as opening may hang too.
        timeout_s: a camera that delivers nothing usable for so long is a ``HardwareError``.
    """

    live = True

    def __init__(self, name: str, opener: Callable[[], Capture], timeout_s: float) -> None:
        self.name, self._opener, self._timeout_s = name, opener, timeout_s
        self.total: int | None = None
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; always the newest frame."""
        # One place: a frame that nobody took yet is replaced by the next one.
        frames: queue.Queue[Image | BaseException] = queue.Queue(maxsize=1)
        stop = threading.Event()
        reader = threading.Thread(target=self._read, args=(frames, stop), daemon=True)
        reader.start()
        index = 0
        try:
            for frame in self._usable(frames):
                while f"{self.name}#{index}" in skip:
                    index += 1
                yield Field(frame, f"{self.name}#{index}", index, stream=True)
                index += 1
        finally:
            stop.set()

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
        self.warnings.extend(getattr(camera, "notes", ()))
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
    return f"{frame.shape[1]} x {frame.shape[0]}"


def _put_newest(frames: queue.Queue[Image | BaseException], item: Image | BaseException) -> None:
    # The consumer may have taken the old one in between: then there is room already.
    with suppress(queue.Empty):
        frames.get_nowait()
    frames.put(item)


def open_camera(
    spec: str, settings: SourceSettings, camera: CameraSettings | None = None
) -> Source:
    """``camera:N`` or ``picamera``.

    Raises:
        UsageError: N is no number.
    """
    wish = camera or CameraSettings()
    number = spec.partition(":")[2]
    if spec != "picamera" and not (number.isdecimal() and number.isascii()):
        raise UsageError(f"expected camera:0, camera:1 ..., got {spec}.")

    def opener() -> Capture:
        before = source.facts.get(CAMERA_FACT)
        return (
            PiCamera(wish, before) if spec == "picamera" else UsbCamera(int(number), wish, before)
        )

    # The camera may adjust itself before its first frame comes.
    source = CameraSource(spec, opener, settings.camera_timeout_s + wish.warm_up_s)
    return source
