"""What every source of fields offers."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from edge_malaria.records import Field, expect


@dataclass(frozen=True)
class SourceSettings:
    """``[source]`` of the configuration.

    Attributes:
        frames_per_s: how often a video is looked at, per second of film.
        camera_timeout_s: a camera that delivers nothing for so long is an error.
        reconnect_s: a camera that goes away is waited for so long; 0 is an error at once.
        follow_idle_s: a watched folder without a new field for so long ends; 0 never does.
        poll_s: how often a watched folder is listed.
    """

    frames_per_s: float = 5.0
    camera_timeout_s: float = 10.0
    reconnect_s: float = 30.0
    follow_idle_s: float = 0.0
    poll_s: float = 0.5

    def __post_init__(self) -> None:
        expect(0 < self.frames_per_s <= 1000, "0 < frames_per_s <= 1000", self.frames_per_s)
        expect(
            0 < self.camera_timeout_s <= 3600, "0 < camera_timeout_s <= 3600", self.camera_timeout_s
        )
        expect(0 <= self.reconnect_s <= 86_400, "reconnect_s from 0 to 86,400", self.reconnect_s)
        expect(
            0 <= self.follow_idle_s <= 1e6, "follow_idle_s from 0 to 1,000,000", self.follow_idle_s
        )
        expect(0 < self.poll_s <= 60, "0 < poll_s <= 60", self.poll_s)


@dataclass(frozen=True)
class CameraSettings:
    """``[camera]`` of the configuration; 0 and "" leave a thing to the camera.

    Whatever is left to it is found by the camera itself during the warm-up and then kept: automatic
    exposure and white balance would change the stain's colours from field to field.

    Attributes:
        width_px, height_px: of a frame.
        frames_per_s: how many frames the camera takes a second.
        fourcc: four letters for how a USB camera sends frames, such as MJPG or YUYV.
        exposure: in the driver's unit: 100 microseconds for most USB cameras, 1 for picamera.
        white_balance_k: colour temperature in kelvin (USB cameras).
        warm_up_s: how long the camera may adjust itself.
        empty_place: a picture of an empty place (``edge-malaria camera empty-place``): its settings
            are repeated and every frame is divided by it.
    """

    width_px: int = 0
    height_px: int = 0
    frames_per_s: float = 0.0
    fourcc: str = ""
    exposure: float = 0.0
    white_balance_k: float = 0.0
    warm_up_s: float = 2.0
    empty_place: str = ""

    def __post_init__(self) -> None:
        sides = (self.width_px, self.height_px)
        expect(min(sides) >= 0 and (min(sides) > 0) == (max(sides) > 0), "both sides in px", sides)
        # OpenCV takes 32-bit numbers.
        expect(max(sides) <= 100_000, "sides of at most 100,000 px", sides)
        letters = self.fourcc.isascii() and self.fourcc.isprintable() and len(self.fourcc) == 4
        expect(self.fourcc == "" or letters, "four letters", self.fourcc)
        # Some drivers tell an exposure as a power of two: it may be negative.
        expect(abs(self.exposure) <= 1e9, "exposure of at most 1e9", self.exposure)
        for name, most in (("frames_per_s", 1000), ("white_balance_k", 100_000)):
            value = getattr(self, name)
            expect(0 <= value <= most, f"{name} from 0 to {most:,}", value)
        expect(0 <= self.warm_up_s <= 60, "warm_up_s from 0 to 60", self.warm_up_s)


@dataclass(frozen=True)
class Unreadable:
    """A file that should have been a field."""

    name: str
    index: int
    why: str


class Source(Protocol):
    """One iterator of fields.

    Attributes:
        live: frames of a moving or still stage; Ctrl-C is then the usual way to end.
        total: how many fields are expected, None where unknown.
        warnings: what the user should know, filled while iterating.
        facts: name -> JSON value for the journal, such as a camera's settings; filled while
            iterating. A resumed slide puts in what the journal has.
    """

    live: bool
    total: int | None
    warnings: list[str]
    facts: dict[str, Any]

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """The fields in order; those named in ``skip`` are left out where that is cheap."""
        ...
