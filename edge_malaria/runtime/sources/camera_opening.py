"""Opening a camera by its name, real or simulated, and taking the picture of an empty place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from edge_malaria.errors import UsageError
from edge_malaria.records import Field
from edge_malaria.runtime.sources.base import CameraSettings, SourceSettings
from edge_malaria.runtime.sources.camera_drivers import Capture, PiCamera, UsbCamera
from edge_malaria.runtime.sources.camera_twin import PREFIX, TwinBench, TwinCamera
from edge_malaria.runtime.sources.cameras import CAMERA_FACT, CameraSource
from edge_malaria.runtime.sources.empty_place import (
    FRAMES,
    EmptyPlace,
    FlatField,
    checked,
    empty_place_of,
    mean_of,
    read_empty_place,
)


def open_camera(
    spec: str, settings: SourceSettings, camera: CameraSettings | None = None
) -> CameraSource:
    """``camera:N``, ``picamera`` or ``camera:sim:...``.

    Raises:
        UsageError: N is no number, or the twin's plan cannot be.
        DataError: the configured empty place cannot be read.
    """
    wish = camera or CameraSettings()
    drive = _driver(spec, wish)
    flat = FlatField(read_empty_place(Path(wish.empty_place))) if wish.empty_place else None

    def opener() -> Capture:
        # A slide goes on as it was begun; a new one as the empty place was taken.
        kept = flat.place.settings if flat is not None else None
        return drive(source.facts.get(CAMERA_FACT) or kept)

    # The camera may adjust itself before its first frame comes.
    patience = settings.camera_timeout_s + wish.warm_up_s
    source = CameraSource(spec, opener, patience, settings.reconnect_s, flat)
    return source


def _driver(spec: str, wish: CameraSettings) -> Callable[[Mapping[str, Any] | None], Capture]:
    """Opens the camera that ``spec`` names, set as it was before."""
    if spec == PREFIX or spec.startswith(f"{PREFIX}:"):
        bench = TwinBench(spec)
        return lambda before: TwinCamera(bench, wish, before)
    if spec == "picamera":
        return lambda before: PiCamera(wish, before)
    number = spec.partition(":")[2]
    if not (number.isdecimal() and number.isascii()):
        raise UsageError(f"expected camera:0, camera:1 ..., got {spec}.")
    return lambda before: UsbCamera(int(number), wish, before)


def take_empty_place(
    spec: str, settings: SourceSettings, camera: CameraSettings | None = None
) -> EmptyPlace:
    """Takes the picture of the empty place that the camera sees now.

    Raises:
        UsageError: no camera, or ``NotEmpty``.
        HardwareError: the camera does not open or delivers nothing.
    """
    if not (spec.startswith("camera:") or spec == "picamera"):
        raise UsageError(f"expected a camera (camera:0, picamera), got {spec}.")
    wish = replace(camera or CameraSettings(), empty_place="")
    source = open_camera(spec, replace(settings, reconnect_s=0.0), wish)
    reading = source.fields()
    try:
        images = (checked(item.image) for item in reading if isinstance(item, Field))
        picture = mean_of(islice(images, FRAMES))
    finally:
        if isinstance(reading, Generator):
            reading.close()
    return empty_place_of(picture, spec, source.facts.get(CAMERA_FACT, {}))
