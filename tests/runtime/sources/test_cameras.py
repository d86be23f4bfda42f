"""Cameras that fail in the ways of cameras; the drivers here stand for OpenCV's and picamera2's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.errors import HardwareError
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import CameraSettings
from edge_malaria.runtime.sources.cameras import CAMERA_FACT, CameraSource

QUICK = CameraSettings(warm_up_s=0.02)


class Driver:
    """A driver that gives what ``frame(n)`` gives."""

    def __init__(self, frame: Callable[[int], Any]) -> None:
        self.frame, self.n, self.closed = frame, -1, False
        self.settings: dict[str, Any] = {"exposure": 7.0}
        self.notes: list[str] = []

    def read(self) -> Any:
        """The next frame, three hundred a second: no driver keeps a core busy."""
        time.sleep(0.003)
        self.n += 1
        return self.frame(self.n)

    def close(self) -> None:
        """Fails, as a driver whose camera was pulled out does."""
        self.closed = True
        raise RuntimeError("no such device")


def noise(n: int, shape: tuple[int, ...] = (40, 50, 3)) -> Image:
    """A frame that no other one is like."""
    return np.random.default_rng(n).integers(0, 255, shape, dtype=np.uint8)


def frames(driver: Driver, most: int = 5, timeout_s: float = 60.0) -> list[Any]:
    """The first fields of a camera; a busy machine may keep it waiting."""
    found = []
    for item in CameraSource("camera:0", lambda: driver, timeout_s).fields():
        found.append(item)
        if len(found) == most:
            break
    return found


def raises(error: Exception) -> Callable[[int], Image]:
    """Two frames, then ``error``."""

    def frame(n: int) -> Image:
        if n < 2:
            return noise(n)
        raise error

    return frame


@pytest.mark.parametrize(
    "error",
    [
        cv2.error("VIDIOC_DQBUF: No such device"),
        RuntimeError("camera frontend has timed out"),
        ValueError("numpy.dtype size changed"),
        OSError(19, "No such device"),
        MemoryError("no room for a frame"),
        IndexError("list index out of range"),
    ],
)
def test_whatever_a_driver_raises_is_a_hardware_error(error: Exception) -> None:
    with pytest.raises(HardwareError, match="camera:0: the camera's driver failed"):
        frames(Driver(raises(error)), 10)


def test_a_driver_that_does_not_open_is_a_hardware_error() -> None:
    def opener() -> Any:
        raise TypeError("an integer is required")

    with pytest.raises(HardwareError, match="an integer is required"):
        next(iter(CameraSource("camera:0", opener, 1).fields()))


@pytest.mark.parametrize(
    "frame", [np.zeros((40, 50), np.uint8), np.zeros((40, 50, 3), np.uint16), np.zeros(0), "x"]
)
def test_frames_that_are_no_colour_pictures_are_a_hardware_error(frame: Any) -> None:
    with pytest.raises(HardwareError, match="expected 8-bit colour"):
        frames(Driver(lambda n: frame))


def test_a_fourth_channel_is_left_out() -> None:
    [item] = frames(Driver(lambda n: noise(n, (40, 50, 4))), 1)
    assert item.image.shape == (40, 50, 3)


def test_a_camera_that_repeats_its_last_picture_is_stuck() -> None:
    with pytest.raises(HardwareError, match=r"camera:0 .*it is stuck"):
        frames(Driver(lambda n: noise(min(n, 3))), 100, timeout_s=1.0)


def test_a_black_picture_again_and_again_is_no_stuck_camera() -> None:
    black = np.zeros((40, 50, 3), np.uint8)
    assert len(frames(Driver(lambda n: black), 20)) == 20


def test_a_camera_that_changes_its_size_is_a_hardware_error() -> None:
    taken = threading.Event()
    driver = Driver(lambda n: noise(n, (20, 25, 3)) if taken.is_set() else noise(n))
    with pytest.raises(HardwareError, match="from 50 x 40 to 25 x 20 px"):
        for _ in CameraSource("camera:0", lambda: driver, 2.0).fields():
            taken.set()


def test_one_frame_of_another_size_is_left_out() -> None:
    taken = threading.Event()
    odd: list[int] = []

    def picture(number: int) -> Image:
        """One small frame, once the first one was taken."""
        if taken.is_set() and not odd:
            odd.append(number)
            return noise(number, (20, 25, 3))
        return noise(number)

    shapes = []
    for item in CameraSource("camera:0", lambda: Driver(picture), 5.0).fields():
        assert isinstance(item, Field)
        shapes.append(item.image.shape)
        taken.set()
        if odd and len(shapes) >= 6:
            break
    assert set(shapes) == {(40, 50, 3)}


def test_a_resumed_camera_goes_on_behind_the_names_it_gave() -> None:
    source = CameraSource("camera:0", lambda: Driver(noise), 60.0)
    given = {f"camera:0#{n}" for n in range(7)}
    item = next(iter(source.fields(given)))
    assert isinstance(item, Field)
    assert (item.name, item.index) == ("camera:0#7", 7)
    assert source.facts == {CAMERA_FACT: {"exposure": 7.0}}
    assert source.warnings == []
    source.facts[CAMERA_FACT] = {"exposure": 9.0}
    next(iter(source.fields()))
    assert "exposure" in source.warnings[0]
