"""Video files and cameras, read so that a silent camera cannot hold up the program."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Container, Iterator
from typing import Any, Protocol

import cv2
import numpy as np

from edge_malaria.errors import HardwareError, UsageError
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import Source, SourceSettings, Unreadable


class Capture(Protocol):
    """What a camera driver offers."""

    def read(self) -> Image | None:
        """The next frame, uint8 [H, W, 3] RGB; None where the driver has none."""
        ...

    def close(self) -> None:
        """Gives the camera back."""
        ...


class _V4L2:
    """``camera:N`` by OpenCV."""

    def __init__(self, number: int) -> None:
        self._camera = cv2.VideoCapture(number)
        if not self._camera.isOpened():
            raise HardwareError(
                f"camera:{number} does not open. Is it plugged in, and not used elsewhere? "
                "v4l2-ctl --list-devices lists what there is."
            )

    def read(self) -> Image | None:
        ok, frame = self._camera.read()
        return np.ascontiguousarray(frame[:, :, ::-1]) if ok and frame is not None else None

    def close(self) -> None:
        self._camera.release()


class _PiCamera:
    """Raspberry Pi OS's own python3-picamera2; imported only here."""

    def __init__(self) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise HardwareError(
                "picamera2 is not installed. On Raspberry Pi OS: sudo apt install "
                "python3-picamera2, and make the environment with --system-site-packages."
            ) from error
        try:
            self._camera: Any = Picamera2()
            # picamera2 calls the byte order B, G, R "RGB888" and the other way round.
            self._camera.configure(self._camera.create_still_configuration({"format": "BGR888"}))
            self._camera.start()
        except (RuntimeError, IndexError) as error:
            raise HardwareError(f"the Raspberry Pi camera does not start: {error}.") from error

    def read(self) -> Image | None:
        return np.ascontiguousarray(self._camera.capture_array())

    def close(self) -> None:
        self._camera.stop()


class CameraSource:
    """Frames of a camera, read by a thread so that a silent one ends in an error, not in a hang.

    Args:
        name: for the fields' names.
        opener: opens the camera; runs in the thread, as opening may hang too.
        timeout_s: a camera that delivers nothing for so long is a ``HardwareError``.
    """

    live = True

    def __init__(self, name: str, opener: Callable[[], Capture], timeout_s: float) -> None:
        self.name, self._opener, self._timeout_s = name, opener, timeout_s
        self.total: int | None = None
        self.warnings: list[str] = []

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; always the newest frame."""
        # One place: a frame that nobody took yet is replaced by the next one.
        frames: queue.Queue[Image | BaseException] = queue.Queue(maxsize=1)
        stop = threading.Event()
        reader = threading.Thread(target=self._read, args=(frames, stop), daemon=True)
        reader.start()
        index = 0
        try:
            while True:
                try:
                    item = frames.get(timeout=self._timeout_s)
                except queue.Empty:
                    raise HardwareError(
                        f"{self.name} delivered no frame for {self._timeout_s:g} s. "
                        "Unplug it, plug it in again, and try another USB port."
                    ) from None
                if isinstance(item, BaseException):
                    raise item
                name = f"{self.name}#{index}"
                if name not in skip:
                    yield Field(item, name, index, stream=True)
                index += 1
        finally:
            stop.set()

    def _read(self, frames: queue.Queue[Image | BaseException], stop: threading.Event) -> None:
        try:
            camera = self._opener()
        except BaseException as error:
            frames.put(error)
            return
        try:
            while not stop.is_set():
                frame = camera.read()
                if frame is None:
                    time.sleep(0.01)
                    continue
                if frames.full():
                    # The consumer may have taken it in between: then there is room already.
                    _drop_oldest(frames)
                frames.put(frame)
        except BaseException as error:
            _drop_oldest(frames)
            frames.put(error)
        finally:
            camera.close()


def _drop_oldest(frames: queue.Queue[Image | BaseException]) -> None:
    try:
        frames.get_nowait()
    except queue.Empty:
        return


def open_camera(spec: str, settings: SourceSettings) -> Source:
    """``camera:N`` or ``picamera``.

    Raises:
        UsageError: N is no number.
    """
    if spec == "picamera":
        return CameraSource("picamera", _PiCamera, settings.camera_timeout_s)
    number = spec.partition(":")[2]
    if not number.isdigit():
        raise UsageError(f"expected camera:0, camera:1 ..., got {spec}.")
    return CameraSource(spec, lambda: _V4L2(int(number)), settings.camera_timeout_s)
