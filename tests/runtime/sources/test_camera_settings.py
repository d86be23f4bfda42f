"""Exposure, white balance and the rest of [camera]: kept after the warm-up, recorded, repeated."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.errors import HardwareError
from edge_malaria.records import Image
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.sources.base import SourceSettings
from edge_malaria.runtime.sources.camera_drivers import PiCamera, UsbCamera
from edge_malaria.runtime.sources.camera_opening import open_camera
from tests.runtime.sources.test_cameras import QUICK, noise


class Device:
    """Behaves like ``cv2.VideoCapture``; ``fixed``: the properties that it lets be set."""

    def __init__(self, fixed: set[int], light_after: int = 100) -> None:
        self.fixed, self.light_after = fixed, light_after
        self.values = {
            cv2.CAP_PROP_EXPOSURE: 157.0, cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
            cv2.CAP_PROP_AUTO_EXPOSURE: 3.0, cv2.CAP_PROP_AUTO_WB: 1.0, cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
        }  # fmt: skip

    def isOpened(self) -> bool:  # noqa: N802
        """True."""
        return True

    def get(self, key: int) -> float:
        """A property; -1 for an unknown one."""
        return self.values.get(key, -1.0)

    def set(self, key: int, value: float) -> bool:
        """Whether the camera took it."""
        if key in self.fixed:
            self.values[key] = value
        return key in self.fixed

    def read(self) -> tuple[bool, Image]:
        """A frame as bright as the exposure makes it."""
        by_hand = self.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
        return True, np.full((48, 64, 3), self.light_after if by_hand else 100, np.uint8)

    def release(self) -> None:
        """Nothing."""


EVERY = {
    cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_AUTO_EXPOSURE, cv2.CAP_PROP_AUTO_WB, cv2.CAP_PROP_FPS,
    cv2.CAP_PROP_WB_TEMPERATURE, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT,
    cv2.CAP_PROP_FOURCC,
}  # fmt: skip


def test_a_usb_cameras_own_exposure_and_white_balance_are_kept_after_the_warm_up() -> None:
    device = Device(EVERY)
    camera = UsbCamera(0, QUICK, None, device)
    assert device.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert device.values[cv2.CAP_PROP_AUTO_WB] == 0
    assert (camera.settings["exposure"], camera.settings["white_balance_k"]) == (157.0, 4600.0)
    assert camera.settings["fourcc"] == "YUYV"
    assert camera.notes == []


def test_the_configuration_sets_a_usb_camera_and_a_resumed_slide_repeats_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "c.toml").write_text(
        '[camera]\nwidth_px = 1280\nheight_px = 720\nfourcc = "MJPG"\nexposure = 80\n'
        "white_balance_k = 5000\nwarm_up_s = 0.01\nframes_per_s = 15\n"
    )
    wish = load_config(tmp_path / "c.toml").camera
    first = UsbCamera(0, wish, None, Device(EVERY)).settings
    assert first == {
        "width_px": 1280, "height_px": 720, "fourcc": "MJPG", "exposure": 80.0, "gain": -1.0,
        "white_balance_k": 5000.0, "frames_per_s": 15.0, "not_fixed": [],
    }  # fmt: skip
    again = UsbCamera(0, QUICK, first, Device(EVERY)).settings
    assert (again["exposure"], again["width_px"]) == (80.0, 1280)


@pytest.mark.parametrize(
    "device",
    [
        Device(EVERY - {cv2.CAP_PROP_EXPOSURE}),
        Device(EVERY - {cv2.CAP_PROP_AUTO_EXPOSURE}),
        Device(EVERY, light_after=20),
    ],
)
def test_a_usb_camera_that_cannot_keep_its_exposure_says_so(device: Device) -> None:
    camera = UsbCamera(0, QUICK, None, device)
    assert device.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 3
    assert "exposure cannot be fixed" in camera.notes[0]
    assert camera.settings["not_fixed"] == camera.notes


@pytest.mark.parametrize(
    "error",
    [ImportError("No module named 'picamera2'"), ValueError("numpy.dtype size changed"),
     AttributeError("module 'numpy' has no attribute 'float'"), OSError("libcamera.so.0.3")],
)  # fmt: skip
def test_a_picamera2_that_cannot_be_imported_is_a_hardware_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Finder:
        """Makes importing picamera2 fail, as a package built for another numpy does."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "picamera2":
                raise error

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(HardwareError, match="picamera2 cannot be imported"):
        next(iter(open_camera("picamera", SourceSettings(), QUICK).fields()))


def test_a_pi_cameras_own_exposure_gain_and_colours_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []

    class Picamera2:
        """Behaves like the class of that name."""

        def create_still_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
            return main

        def configure(self, main: dict[str, Any]) -> None:
            told.append(main)

        def start(self) -> None:
            pass

        def capture_metadata(self) -> dict[str, Any]:
            return {"ExposureTime": 9000, "AnalogueGain": 1.5, "ColourGains": (1.9, 1.4)}

        def set_controls(self, controls: dict[str, Any]) -> None:
            told.append(controls)

        def capture_array(self) -> Image:
            return noise(1)

        def stop(self) -> None:
            pass

        def close(self) -> None:
            pass

    module = types.ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    camera = PiCamera(QUICK)
    assert told[1] == {
        "AeEnable": False, "AwbEnable": False, "ExposureTime": 9000, "AnalogueGain": 1.5,
        "ColourGains": (1.9, 1.4),
    }  # fmt: skip
    told.clear()
    PiCamera(QUICK, {**camera.settings, "exposure": 4000})
    assert told[0]["size"] == (50, 40)
    assert told[1]["ExposureTime"] == 4000
