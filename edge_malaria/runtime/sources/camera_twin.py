"""A camera that is drawn: ``camera:sim:...`` behaves as a real one does, faults included.

It stands behind ``CameraSource`` like the drivers of real cameras, so that what a program does
with uneven light, a pulled cable or a driver that hangs can be tried without a microscope.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from edge_malaria.errors import HardwareError, UsageError
from edge_malaria.records import Image, expect
from edge_malaria.runtime.sources.base import CameraSettings
from edge_malaria.synthetic import DrawnStage

PREFIX = "camera:sim"
# An empty slide under the lamp, levels of R, G, B.
_EMPTY = (216.0, 208.0, 214.0)
# What the camera finds by itself, in the units of a USB camera.
_EXPOSURE, _WHITE_BALANCE_K = 100.0, 5000.0


@dataclass(frozen=True)
class TwinPlan:
    """What the twin shows and how it fails.

    Attributes:
        fields, seed, parasitemia, width, height, cell_diameter_px: of the drawn slide.
        hold: frames at each place before the stage moves on.
        frames_per_s: of the camera.
        empty: 1 shows an empty place.
        shading: by how much the corners are darker, 0-0.8; red falls less than green.
        dust: specks on the sensor.
        noise: of a pixel, levels.
        lock: 0 for a camera whose exposure and white balance cannot be fixed.
        unplug_at: the frame at which the cable is pulled, for away_s; 0 never.
        stall_at: the frame from which the same picture comes again; 0 never.
        silent_at: the frame from which none comes; 0 never. Opening it anew mends both.
    """

    fields: int = 4
    seed: int = 1
    parasitemia: float = 0.02
    width: int = 640
    height: int = 480
    cell_diameter_px: float = 55.0
    hold: int = 2
    frames_per_s: float = 20.0
    empty: int = 0
    shading: float = 0.0
    dust: int = 0
    noise: float = 1.0
    lock: int = 1
    unplug_at: int = 0
    away_s: float = 1.0
    stall_at: int = 0
    silent_at: int = 0

    def __post_init__(self) -> None:
        expect(1 <= self.fields <= 1000, "fields from 1 to 1000", self.fields)
        expect(min(self.width, self.height) >= 64, "sides of 64 px or more", self.width)
        expect(max(self.width, self.height) <= 8000, "sides of at most 8000 px", self.height)
        expect(0 < self.frames_per_s <= 1000, "frames_per_s up to 1000", self.frames_per_s)
        expect(0 <= self.shading <= 0.8, "shading from 0 to 0.8", self.shading)
        expect(0 <= self.noise <= 50, "noise from 0 to 50", self.noise)
        expect(0 <= self.dust <= 1000, "dust from 0 to 1000", self.dust)
        expect(self.hold >= 1, "hold >= 1", self.hold)

    @classmethod
    def of(cls, spec: str) -> TwinPlan:
        """``camera:sim:fields=3,shading=0.4`` -> its plan.

        Raises:
            UsageError: an unknown name or an impossible value.
        """
        kinds = {field.name: float if field.type == "float" else int for field in fields(cls)}
        values: dict[str, Any] = {}
        for part in spec.removeprefix(PREFIX).removeprefix(":").split(","):
            if not part.strip():
                continue
            name, _, value = (text.strip() for text in part.partition("="))
            if name not in kinds:
                raise UsageError(f"{PREFIX}: knows {', '.join(kinds)}, got {name!r}.")
            try:
                values[name] = kinds[name](value)
            except ValueError as error:
                raise UsageError(f"{spec}: expected a number for {name}, got {value!r}.") from error
        try:
            return cls(**values)
        except ValueError as error:
            raise UsageError(f"{spec}: {error}.") from error


class TwinBench:
    """The microscope with the twin on it: it stays while the camera is closed and opened.

    Args:
        spec: ``camera:sim:...``.
    """

    def __init__(self, spec: str) -> None:
        self.plan = TwinPlan.of(spec)
        self.frames = 0
        self.faults: set[str] = set()
        self.away_until = 0.0
        plan = self.plan
        self._rng = np.random.default_rng([plan.seed, 7])
        self._places = self._scenes()
        # The slide is drawn before the camera is opened: a real one is there already.
        self._scene = next(self._places)
        self._light = self._lens()

    def _scenes(self) -> Iterator[Image]:
        plan = self.plan
        if plan.empty:
            blank = np.empty((plan.height, plan.width, 3), np.uint8)
            blank[:] = np.rint(_EMPTY)
            while True:
                yield blank
        stage = DrawnStage(
            plan.seed, plan.fields, plan.parasitemia, view_px=(plan.width, plan.height),
            cell_diameter_px=plan.cell_diameter_px,
        )  # fmt: skip
        for shot in stage:
            yield shot.image
        while True:
            yield shot.image

    def _lens(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """What lens, lamp and dust leave of the light, float32 [H, W, 3]."""
        plan = self.plan
        y, x = np.mgrid[-1.0 : 1.0 : plan.height * 1j, -1.0 : 1.0 : plan.width * 1j]
        fall = np.asarray((x * x + y * y) / 2, np.float32)
        light = np.stack([1 - share * plan.shading * fall for share in (0.7, 1.0, 0.85)], axis=2)
        specks = np.ones((plan.height, plan.width), np.float32)
        for _ in range(plan.dust):
            at = (int(self._rng.integers(plan.width)), int(self._rng.integers(plan.height)))
            cv2.circle(specks, at, int(self._rng.integers(2, 5)), 0.75, -1)
        soft = cv2.GaussianBlur(specks, (0, 0), 1.2)
        return np.asarray(light * soft[:, :, None], np.float32)

    def picture(self, exposure: float, white_balance_k: float) -> Image:
        """The next frame, uint8 [H, W, 3] RGB."""
        if self.frames and self.frames % self.plan.hold == 0:
            self._scene = next(self._places)
        self.frames += 1
        warmth = (white_balance_k - _WHITE_BALANCE_K) / 20_000
        colour = np.array([1 + warmth, 1.0, 1 - warmth], np.float32) * (exposure / _EXPOSURE)
        lit = np.asarray(self._scene * self._light * colour, np.float32)
        lit += self._rng.standard_normal(lit.shape, np.float32) * np.float32(self.plan.noise)
        return np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)


class TwinCamera:
    """See ``Capture``.

    Args:
        bench: where it stands.
        wish: what the configuration says.
        before: the settings of this slide's earlier part, to be repeated.

    Raises:
        HardwareError: its cable is pulled.
    """

    def __init__(
        self, bench: TwinBench, wish: CameraSettings, before: Mapping[str, Any] | None = None
    ) -> None:
        if time.monotonic() < bench.away_until:
            raise HardwareError("the simulated camera is not plugged in.")
        earlier, plan = dict(before or {}), bench.plan
        self._bench, self._last = bench, None
        time.sleep(min(wish.warm_up_s, 0.2))
        self._exposure = float(wish.exposure or earlier.get("exposure") or _EXPOSURE)
        self._white = float(
            wish.white_balance_k or earlier.get("white_balance_k") or _WHITE_BALANCE_K
        )
        self.notes = []
        if not plan.lock:
            self.notes = [
                f"This camera's {what} cannot be fixed: colours may change from field to field."
                for what in ("exposure", "white balance")
            ]
        self.settings: Mapping[str, Any] = {
            "width_px": plan.width,
            "height_px": plan.height,
            "frames_per_s": plan.frames_per_s,
            "exposure": self._exposure,
            "white_balance_k": self._white,
            "not_fixed": list(self.notes),
        }
        self._stalled = self._silent = False

    _last: Image | None

    def read(self) -> Image | None:
        """See ``Capture``."""
        bench, plan = self._bench, self._bench.plan
        time.sleep(1 / plan.frames_per_s)
        if self._due("unplug", plan.unplug_at):
            bench.away_until = time.monotonic() + plan.away_s
        if time.monotonic() < bench.away_until:
            raise OSError("no such device")
        self._stalled = self._stalled or self._due("stall", plan.stall_at)
        self._silent = self._silent or self._due("silent", plan.silent_at)
        if self._silent:
            return None
        if self._stalled and self._last is not None:
            return self._last
        drift = 1.0 if plan.lock else 1 + 0.1 * np.sin(bench.frames / 5)
        self._last = bench.picture(self._exposure * drift, self._white)
        return self._last

    def _due(self, fault: str, at: int) -> bool:
        """Each fault comes once."""
        if at == 0 or fault in self._bench.faults or self._bench.frames < at:
            return False
        self._bench.faults.add(fault)
        return True

    def close(self) -> None:
        """See ``Capture``."""
