"""Drivers of cameras: USB cameras by OpenCV, Raspberry Pi cameras by picamera2.

Both adjust themselves during a warm-up; what they found is then kept for the whole slide.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

import cv2
import numpy as np

from edge_malaria.errors import HardwareError
from edge_malaria.records import Image
from edge_malaria.runtime.sources.base import CameraSettings

# After locking, a picture this much darker or brighter (as a factor) than before says that the
# driver told another exposure than it used.
_SAME_LIGHT = 1.3


class Capture(Protocol):
    """What a camera driver offers.

    Attributes:
        settings: what the camera was set to, for the journal.
        notes: what of it could not be kept, in words.
    """

    settings: Mapping[str, Any]
    notes: list[str]

    def read(self) -> Image | None:
        """The next frame, uint8 [H, W, 3] RGB; None where the driver has none."""
        ...

    def close(self) -> None:
        """Gives the camera back."""
        ...


class UsbCamera:
    """``camera:N`` by OpenCV.

    Args:
        number: N.
        wish: what the configuration says.
        before: the settings of this slide's earlier part, to be repeated.
        device: an opened ``cv2.VideoCapture`` or what behaves like one.

    Raises:
        HardwareError: it does not open.
    """

    def __init__(
        self,
        number: int,
        wish: CameraSettings,
        before: Mapping[str, Any] | None = None,
        device: Any = None,
    ) -> None:
        self._device = cv2.VideoCapture(number) if device is None else device
        if not self._device.isOpened():
            raise HardwareError(
                f"camera:{number} does not open. Is it plugged in, and not used elsewhere? "
                "v4l2-ctl --list-devices lists what there is."
            )
        self.notes: list[str] = []
        earlier = dict(before or {})
        if wish.fourcc:
            self._device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wish.fourcc))
        for key, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, wish.width_px or earlier.get("width_px", 0)),
            (cv2.CAP_PROP_FRAME_HEIGHT, wish.height_px or earlier.get("height_px", 0)),
            (cv2.CAP_PROP_FPS, wish.frames_per_s),
        ):
            if value:
                self._device.set(key, float(value))
        light = self._warm_up(wish.warm_up_s)
        self._lock(
            float(wish.exposure or earlier.get("exposure", 0)),
            float(wish.white_balance_k or earlier.get("white_balance_k", 0)),
            light,
        )
        self.settings: Mapping[str, Any] = self._found()

    def _warm_up(self, seconds: float) -> float:
        """Reads frames for so long; the last one's brightness, 0-255."""
        ends, light = time.monotonic() + seconds, 0.0
        while time.monotonic() < ends:
            frame = self.read()
            if frame is None:
                time.sleep(0.01)
            else:
                light = float(frame.mean())
        return light

    def _lock(self, exposure: float, white_balance: float, light: float) -> None:
        device = self._device
        found = exposure or device.get(cv2.CAP_PROP_EXPOSURE)
        # Video4Linux: 1 is by hand, 3 automatic (aperture priority).
        kept = device.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1) and device.set(
            cv2.CAP_PROP_EXPOSURE, found
        )
        if kept and not exposure and light > 0:
            after = self._warm_up(0.3)
            kept = light / _SAME_LIGHT <= after <= light * _SAME_LIGHT
        if not kept:
            device.set(cv2.CAP_PROP_AUTO_EXPOSURE, 3)
            self._cannot("exposure")
        found = white_balance or device.get(cv2.CAP_PROP_WB_TEMPERATURE)
        if not (
            device.set(cv2.CAP_PROP_AUTO_WB, 0) and device.set(cv2.CAP_PROP_WB_TEMPERATURE, found)
        ):
            device.set(cv2.CAP_PROP_AUTO_WB, 1)
            self._cannot("white balance")

    def _cannot(self, what: str) -> None:
        self.notes.append(
            f"This camera's {what} cannot be fixed: colours may change from field to field."
        )

    def _found(self) -> dict[str, Any]:
        get = self._device.get
        code = int(get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        letters = code.to_bytes(4, "little").decode("ascii", "replace")
        return {
            "width_px": int(get(cv2.CAP_PROP_FRAME_WIDTH)),
            "height_px": int(get(cv2.CAP_PROP_FRAME_HEIGHT)),
            "frames_per_s": _finite(get(cv2.CAP_PROP_FPS)),
            "fourcc": letters if letters.isprintable() else "",
            "exposure": _finite(get(cv2.CAP_PROP_EXPOSURE)),
            "white_balance_k": _finite(get(cv2.CAP_PROP_WB_TEMPERATURE)),
            "gain": _finite(get(cv2.CAP_PROP_GAIN)),
            "not_fixed": list(self.notes),
        }

    def read(self) -> Image | None:
        """See ``Capture``."""
        ok, frame = self._device.read()
        if not ok or frame is None:
            return None
        if frame.ndim == 3 and frame.shape[2] == 3:
            return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        return np.ascontiguousarray(frame[:, :, ::-1])

    def close(self) -> None:
        """See ``Capture``."""
        self._device.release()


def _finite(value: Any) -> float:
    return round(float(value), 4) if np.isfinite(value) else 0.0


class PiCamera:
    """Raspberry Pi OS's own python3-picamera2; imported only here.

    Args:
        wish: what the configuration says.
        before: the settings of this slide's earlier part, to be repeated.

    Raises:
        HardwareError: not installed, not importable, or no camera.
    """

    def __init__(self, wish: CameraSettings, before: Mapping[str, Any] | None = None) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise HardwareError(
                f"picamera2 cannot be imported ({error}). On Raspberry Pi OS: sudo apt install "
                "python3-picamera2, and make the environment with --system-site-packages."
            ) from error
        except Exception as error:
            raise HardwareError(
                f"picamera2 cannot be imported ({error}). Its compiled parts need the system's own "
                "numpy: see the Raspberry Pi part of README."
            ) from error
        self.notes: list[str] = []
        earlier = dict(before or {})
        main: dict[str, Any] = {"format": "BGR888"}
        size = (wish.width_px, wish.height_px)
        if not all(size):
            size = (earlier.get("width_px", 0), earlier.get("height_px", 0))
        if all(size):
            main["size"] = size
        # picamera2 calls the byte order B, G, R "RGB888" and the other way round.
        self._camera: Any = Picamera2()
        self._camera.configure(self._camera.create_still_configuration(main))
        self._camera.start()
        time.sleep(wish.warm_up_s)
        self._lock(wish, earlier)

    def _lock(self, wish: CameraSettings, earlier: Mapping[str, Any]) -> None:
        found = self._camera.capture_metadata()
        exposure = wish.exposure or earlier.get("exposure") or found.get("ExposureTime", 0)
        gain = earlier.get("gain") or found.get("AnalogueGain", 0)
        colours = earlier.get("colour_gains") or list(found.get("ColourGains", ()))
        controls: dict[str, Any] = {"AeEnable": False, "AwbEnable": False}
        if exposure:
            controls["ExposureTime"] = int(exposure)
        if gain:
            controls["AnalogueGain"] = float(gain)
        if colours:
            controls["ColourGains"] = tuple(colours)
        if wish.frames_per_s:
            duration_us = round(1e6 / wish.frames_per_s)
            controls["FrameDurationLimits"] = (duration_us, duration_us)
        self._camera.set_controls(controls)
        height, width = self._camera.capture_array().shape[:2]
        self.settings: Mapping[str, Any] = {
            "width_px": int(width),
            "height_px": int(height),
            "exposure": int(exposure),
            "gain": round(float(gain), 4),
            "colour_gains": [round(float(value), 4) for value in colours],
            "not_fixed": [],
        }

    def read(self) -> Image | None:
        """See ``Capture``."""
        return np.ascontiguousarray(self._camera.capture_array())

    def close(self) -> None:
        """See ``Capture``."""
        with suppress(Exception):
            self._camera.stop()
        self._camera.close()
