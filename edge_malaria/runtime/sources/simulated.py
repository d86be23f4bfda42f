"""``sim:``: a drawn slide with set parasitemia, motion, defocus and light, as a source."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import cv2
import numpy as np

from edge_malaria.errors import UsageError
from edge_malaria.records import Field, Image, expect
from edge_malaria.runtime.sources.base import Unreadable
from edge_malaria.synthetic import DrawnStage

_NUMBERS: dict[str, type] = {
    "parasitemia": float,
    "fields": int,
    "seed": int,
    "motion": float,
    "defocus": float,
    "light": float,
    "density": float,
    "overlap": float,
    "cell_diameter_px": float,
    "width": int,
    "height": int,
}


def parse_sim(spec: str) -> dict[str, Any]:
    """``sim:parasitemia=0.01,fields=50,seed=3,motion=1`` -> its values.

    Raises:
        UsageError: an unknown name or a value that is no number.
    """
    values: dict[str, Any] = {}
    for part in spec.partition(":")[2].split(","):
        if not part.strip():
            continue
        name, _, value = (text.strip() for text in part.partition("="))
        if name not in _NUMBERS:
            raise UsageError(f"sim: knows {', '.join(_NUMBERS)}, got {name!r}.")
        try:
            values[name] = _NUMBERS[name](value)
        except ValueError as error:
            raise UsageError(f"sim: expected a number for {name}, got {value!r}.") from error
    return values


class SimulatedSource:
    """The frames of a stage that moves over a drawn slide.

    ``defocus`` is a blur's sigma in px and ``light`` the lamp (1 = as set), both on top of what
    the stage itself does.
    """

    def __init__(self, spec: str) -> None:
        values = parse_sim(spec)
        self.name = spec
        self._defocus = float(values.pop("defocus", 0.0))
        self._light = float(values.pop("light", 1.0))
        view = (int(values.pop("width", 1280)), int(values.pop("height", 960)))
        try:
            expect(0 <= self._defocus <= 100, "defocus from 0 to 100 px", self._defocus)
            expect(0 <= self._light <= 10, "light from 0 to 10", self._light)
            self.stage = DrawnStage(
                int(values.pop("seed", 1)),
                int(values.pop("fields", 10)),
                float(values.pop("parasitemia", 0.02)),
                motion=float(values.pop("motion", 0.0)),
                view_px=view,
                **values,
            )
        except ValueError as error:
            raise UsageError(f"{spec}: {error}.") from error
        self.live = False
        self.total: int | None = len(self.stage)
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``."""
        for shot in self.stage:
            name = f"sim#{shot.index}"
            if name not in skip:
                yield Field(self._lit(shot.image), name, shot.index, stream=True)

    def _lit(self, image: Image) -> Image:
        if self._defocus > 0:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self._defocus), np.uint8)
        if self._light != 1.0:
            image = np.asarray(cv2.convertScaleAbs(image, alpha=self._light), np.uint8)
        return image
