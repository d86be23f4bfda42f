"""The frames of a video file."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_malaria.errors import ImageError
from edge_malaria.records import Field
from edge_malaria.runtime.sources.base import SourceSettings, Unreadable

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpg")


class VideoSource:
    """The frames of a video file, a few for each second of film."""

    live = False

    def __init__(self, path: Path, settings: SourceSettings) -> None:
        self.path, self.settings = path, settings
        self.warnings: list[str] = []
        film = cv2.VideoCapture(str(path))
        if not film.isOpened():
            raise ImageError(f"{path} is not a video that can be decoded, or it is damaged.")
        self._expected = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = float(film.get(cv2.CAP_PROP_FPS))
        film.release()
        usable = rate if 1.0 <= rate <= 1000.0 else 25.0
        self._stride = max(1, round(usable / settings.frames_per_s))
        self.total: int | None = max(1, self._expected // self._stride) if self._expected else None

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; a film that ends early is a warning, one without a frame an error."""
        film = cv2.VideoCapture(str(self.path))
        number = 0
        try:
            while film.grab():
                name = f"{self.path.name}#{number}"
                if number % self._stride == 0 and name not in skip:
                    ok, frame = film.retrieve()
                    if ok and frame is not None:
                        yield Field(np.ascontiguousarray(frame[:, :, ::-1]), name, number)
                number += 1
        finally:
            film.release()
        if number == 0:
            raise ImageError(f"{self.path} holds no frame that can be decoded.")
        if number < self._expected:
            self.warnings.append(
                f"{self.path.name} ends early: {number} of {self._expected} frames could be read."
            )
