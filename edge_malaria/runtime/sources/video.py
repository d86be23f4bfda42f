"""The frames of a video file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_malaria.errors import ImageError
from edge_malaria.files import printable
from edge_malaria.records import Field
from edge_malaria.runtime.sources.base import SourceSettings

# Lengths in headers are often estimates: a film this share shorter than it says is whole.
_TOLERANCE = 0.05
_MOST_FRAMES = 100_000_000


class VideoSource:
    """The frames of a video file, a few for each second of film.

    Args:
        path: the film.
        settings: how many frames a second are looked at.
        name: of the film in its frames' names; by default the file's.
    """

    live = False

    def __init__(self, path: Path, settings: SourceSettings, name: str = "") -> None:
        self.path, self.settings = path, settings
        self.name = name or printable(path.name)
        self._shown = printable(str(path))
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        with _opened(path) as film:
            if not film.isOpened():
                raise ImageError(
                    f"{self._shown} is not a video that can be decoded, or it is damaged."
                )
            count, rate = film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)
        self._expected = int(count) if 0 < count < _MOST_FRAMES else 0
        usable = rate if 1.0 <= rate <= 1000.0 else 25.0
        self._stride = max(1, round(usable / settings.frames_per_s))
        self.total: int | None = max(1, self._expected // self._stride) if self._expected else None

    def fields(self, skip: Container[str] = ()) -> Iterator[Field]:
        """See ``Source``; a film that ends early is a warning, one without a frame an error."""
        number = decoded = 0
        with _opened(self.path) as film:
            while film.grab():
                name = f"{self.name}#{number}"
                if number % self._stride == 0:
                    ok, frame = film.retrieve() if name not in skip else (True, None)
                    decoded += bool(ok)
                    if ok and frame is not None:
                        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
                        yield Field(rgb, name, number, stream=True)
                number += 1
        if decoded == 0:
            raise ImageError(f"{self._shown} holds no frame that can be decoded.")
        if number < (1 - _TOLERANCE) * self._expected:
            self.warnings.append(
                f"{self.name} ends early: {number} of {self._expected} frames could be read."
            )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """OpenCV's reader; it takes names in UTF-8 only, so others are reached by a link."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:
            link = Path(folder) / "film"
            os.symlink(path.absolute(), link)
            path = link
        film = cv2.VideoCapture(str(path))
        try:
            yield film
        finally:
            film.release()
