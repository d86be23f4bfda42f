"""What is in a drawn view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Box, CellKind, Mask
from edge_malaria.synthetic.cells import PARASITIZED_KINDS, RED_CELL_KINDS, DrawnKind
from edge_malaria.synthetic.stains import Stain


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """The truth of one thing in a view.

    Attributes:
        number: its number on the slide; the same in every view that shows it.
        kind: what was drawn.
        box: (x0, y0, x1, y1) px in the view, half-open, tight around ``mask``.
        mask: bool [y1 - y0, x1 - x0], True on the thing, overlapped parts included.
        whole: False where the view's border cuts it.
        parasite_boxes: around each parasite, px in the view.
    """

    number: int
    kind: DrawnKind
    box: Box
    mask: Mask
    whole: bool
    parasite_boxes: tuple[Box, ...]

    @property
    def is_red_cell(self) -> bool:
        """Healthy or parasitized red cell."""
        return self.kind in RED_CELL_KINDS

    @property
    def parasitized(self) -> bool:
        """Holds a parasite of any stage."""
        return self.kind in PARASITIZED_KINDS

    @property
    def stage(self) -> str | None:
        """The parasite's stage, None without one."""
        return self.kind if self.parasitized else None

    @property
    def cell_kind(self) -> CellKind:
        """The finder's word for it."""
        if self.kind == "white-cell":
            return "white-cell"
        if self.kind == "platelet":
            return "platelet"
        return "debris" if self.kind == "debris" else "red-cell"


@dataclass(frozen=True, eq=False)
class SmearTruth:
    """What is in a drawn view.

    Attributes:
        objects: in the order in which they were laid down.
        width_px: of the view.
        height_px: of the view.
        x_px: left edge of the view on its slide.
        y_px: top edge of the view on its slide.
        stain: the smear's colours.
        defocus_px: sigma of the blur that was applied.
        motion_px: (dx, dy) of the movement during the exposure.
    """

    objects: tuple[DrawnObject, ...]
    width_px: int
    height_px: int
    x_px: int
    y_px: int
    stain: Stain
    defocus_px: float
    motion_px: tuple[float, float]

    @property
    def red_cells(self) -> tuple[DrawnObject, ...]:
        """Healthy and parasitized red cells, cut ones included."""
        return tuple(thing for thing in self.objects if thing.is_red_cell)

    @property
    def parasitized(self) -> tuple[DrawnObject, ...]:
        """Red cells with a parasite of any stage."""
        return tuple(thing for thing in self.objects if thing.parasitized)

    @property
    def parasitemia(self) -> float | None:
        """Share of red cells with an asexual parasite; None without red cells."""
        red = self.red_cells
        asexual = sum(thing.parasitized and thing.kind != "gametocyte" for thing in red)
        return asexual / len(red) if red else None

    def label_map(self) -> NDArray[np.int32]:
        """int32 [H, W]: 0 background, k + 1 where ``objects[k]`` lies on top."""
        labels = np.zeros((self.height_px, self.width_px), np.int32)
        for index, thing in enumerate(self.objects):
            x0, y0, x1, y1 = thing.box
            labels[y0:y1, x0:x1][thing.mask] = index + 1
        return labels
