"""A folder into which small drawn fields come as fast as a server takes them."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

import numpy as np

from edge_malaria.files import encode_image, write_bytes
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_field

WIDTH_PX, HEIGHT_PX, CELL_PX = 320, 240, 40
# A watched folder is listed twice a second and a file taken at the second look: with few ahead the
# server would wait for files most of the time.
# A frame that overlaps one of the six before it (``Registrar``) shows a place that was counted: the
# server passes over it, rightly.
_APART = 8
_DRAWN, _AHEAD, _KEPT = 24, 80, 20


class DrawnFolder:
    """Writes fields; every one is a place of its own: drawn, turned, shifted.

    Args:
        folder: to write into; made.
        seed: of the fields.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._dice = np.random.default_rng(seed)
        self._drawn = [
            draw_field(seed + n, WIDTH_PX, HEIGHT_PX, cell_diameter_px=CELL_PX)[0]
            for n in range(_DRAWN)
        ]
        self._latest: deque[int] = deque(maxlen=_APART)
        self._lock = threading.Lock()
        self._names: list[Path] = []
        self.written = self._first = 0

    @property
    def of_slide(self) -> int:
        """How many were written for the present slide."""
        return self.written - self._first

    def begin(self) -> None:
        """Empties the folder for the next slide."""
        with self._lock:
            for path in self._names:
                path.unlink(missing_ok=True)
            self._names, self._first = [], self.written

    def feed(self, taken: int, most: int) -> None:
        """Writes what a server that has taken so many of this slide's needs next.

        Args:
            taken: fields of this slide that the server has counted or refused.
            most: no more than so many for this slide.
        """
        with self._lock:
            while self.written - self._first < min(most, taken + _AHEAD):
                path = self.folder / f"field{self.written:06d}.jpg"
                write_bytes(path, encode_image(self._next(), ".jpg", 92))
                self._names.append(path)
                self.written += 1
            # What was taken long ago is taken away: a folder of 20,000 files is listed slowly.
            gone = self.written - self._first - len(self._names)
            old = max(0, taken - _KEPT - gone)
            for path in self._names[:old]:
                path.unlink(missing_ok=True)
            self._names = self._names[old:]

    def _next(self) -> Image:
        free = [n for n in range(_DRAWN) if n not in self._latest]
        self._latest.append(free[int(self._dice.integers(len(free)))])
        image = self._drawn[self._latest[-1]]
        shift = (int(self._dice.integers(HEIGHT_PX)), int(self._dice.integers(WIDTH_PX)))
        image = np.roll(image, shift, axis=(0, 1))
        if self._dice.random() < 0.5:
            image = image[::-1]
        if self._dice.random() < 0.5:
            image = image[:, ::-1]
        return np.ascontiguousarray(image)
