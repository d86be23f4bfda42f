"""A microscope stage that moves over a drawn slide: the simulated camera's frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_malaria.records import Image, expect
from edge_malaria.synthetic.shapes import uniform
from edge_malaria.synthetic.smear import DrawnSlide
from edge_malaria.synthetic.truth import SmearTruth

# Frames that the camera takes while the stage travels from one stop to the next.
_TRAVEL_FRAMES = 3
MAX_FIELDS = 10_000


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of the simulated camera.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        truth: what is in it; ``truth.objects[k].number`` is the same in every shot.
        index: from 0.
        settled: False while the stage travels.
    """

    image: Image
    truth: SmearTruth
    index: int
    settled: bool


class DrawnStage:
    """Scans a drawn slide line by line, back and forth.

    Args:
        seed: of slide and travel.
        fields: stops of the stage.
        parasitemia: chance that a red cell holds an asexual parasite, 0-1.
        motion: 0 stops at fields side by side, each sharp and evenly lit; up to 1 a hand on the
            stage: frames while it travels, views that overlap, focus and lamp that drift.
        view_px: (width, height) of a frame.
        slide: what else ``DrawnSlide`` takes.
    """

    def __init__(
        self,
        seed: int,
        fields: int = 50,
        parasitemia: float = 0.02,
        *,
        motion: float = 0.0,
        view_px: tuple[int, int] = (1280, 960),
        **slide: Any,
    ) -> None:
        expect(fields >= 1, "fields >= 1", fields)
        # The whole slide is laid out before its first view; a real one has no more under oil.
        expect(fields <= MAX_FIELDS, f"fields <= {MAX_FIELDS:,}", fields)
        expect(0 <= motion <= 1, "motion between 0 and 1", motion)
        self.fields, self.motion, self.seed = fields, motion, seed
        columns = max(1, int(fields**0.5))
        rows = -(-fields // columns)
        self._columns = columns
        # A stop overlaps the one before by up to a quarter of the view.
        self._step = tuple(round(side * (1 - 0.25 * motion)) for side in view_px)
        width = self._step[0] * (columns - 1) + view_px[0]
        height = self._step[1] * (rows - 1) + view_px[1]
        self.slide = DrawnSlide(
            seed, parasitemia, width_px=width, height_px=height, view_px=view_px, **slide
        )

    def stops(self) -> list[tuple[int, int]]:
        """(x, y) px of the settled views, in the order of the scan."""
        places = []
        for index in range(self.fields):
            row, column = divmod(index, self._columns)
            if row % 2:
                column = self._columns - 1 - column
            places.append((column * self._step[0], row * self._step[1]))
        return places

    def __len__(self) -> int:
        """Number of shots."""
        between = _TRAVEL_FRAMES * (self.fields - 1) if self.motion > 0 else 0
        return self.fields + between

    def __iter__(self) -> Iterator[Shot]:
        """The shots in order; iterating again gives the same ones."""
        rng = np.random.default_rng([self.seed, 4])
        stops = self.stops()
        index, focus, lamp = 0, 0.0, 1.0
        for number, (x, y) in enumerate(stops):
            if number and self.motion > 0:
                for shot in self._travel(stops[number - 1], (x, y), index, focus, lamp):
                    yield shot
                    index += 1
            if self.motion > 0:
                focus = self._drift(rng, focus, 0.0, 0.6)
                lamp = 1 + self._drift(rng, lamp - 1, -0.12, 0.12)
            image, truth = self.slide.view(x, y, defocus_px=focus, light=lamp, shot=index)
            yield Shot(image, truth, index, settled=True)
            index += 1

    def _drift(self, rng: np.random.Generator, value: float, low: float, high: float) -> float:
        step = uniform(rng, -0.5, 0.5) * (high - low)
        return min(max(value + step * self.motion, low * self.motion), high * self.motion)

    def _travel(
        self, start: tuple[int, int], end: tuple[int, int], index: int, focus: float, lamp: float
    ) -> Iterator[Shot]:
        dx, dy = end[0] - start[0], end[1] - start[1]
        for frame in range(_TRAVEL_FRAMES):
            share = (frame + 1) / (_TRAVEL_FRAMES + 1)
            # The shutter is open for a thirtieth of the way.
            blur = (dx / 30 * self.motion, dy / 30 * self.motion)
            image, truth = self.slide.view(
                round(start[0] + share * dx),
                round(start[1] + share * dy),
                defocus_px=focus,
                light=lamp,
                motion_px=blur,
                shot=index + frame,
            )
            yield Shot(image, truth, index + frame, settled=False)
