"""What every source of fields offers."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge_malaria.records import Field


@dataclass(frozen=True)
class SourceSettings:
    """``[source]`` of the configuration.

    Attributes:
        frames_per_s: how often a video is looked at, per second of film.
        camera_timeout_s: a camera that delivers nothing for so long is an error.
        follow_idle_s: a watched folder without a new field for so long ends; 0 never does.
        poll_s: how often a watched folder is listed.
    """

    frames_per_s: float = 5.0
    camera_timeout_s: float = 10.0
    follow_idle_s: float = 0.0
    poll_s: float = 0.5


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
    """

    live: bool
    total: int | None
    warnings: list[str]

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """The fields in order; those named in ``skip`` are left out where that is cheap."""
        ...
