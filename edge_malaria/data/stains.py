"""The slides' colours in a data set of crops: what each cell is scaled from.

A slide is what ``slide_key`` names; rows without one are taken as one slide together.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.prepare.stain import cell_colour, evenly, median_colour
from edge_malaria.records import Image, Mask

Look = Callable[[Image], tuple[Image, Mask | None]]

ONE_SLIDE = "slides are unknown: the colours of all crops were scaled as one slide's."


def as_it_is(crop: Image) -> tuple[Image, None]:
    """A crop whose background is black already."""
    return crop, None


class SlideTables:
    """Tables of the data set's slides, each made when its first cell is asked for.

    Args:
        dataset: the rows of whole slides; of each at most ``stain.MOST_CELLS`` are read for it.
        target: the way from a crop to the input; one without a stain gives no tables.
        look: a picture -> the cell's crop and mask.
    """

    def __init__(self, dataset: Dataset, target: Target, look: Look = as_it_is) -> None:
        self._dataset, self._target, self._look = dataset, target, look
        self._stain = preparation(target).stain
        self._rows: dict[str, list[Row]] = {}
        for row in dataset.rows if self._stain is not None else ():
            self._rows.setdefault(row.slide_key or "", []).append(row)
        self._tables: dict[str, Image | None] = {}

    @property
    def warning(self) -> str:
        """What a reader must know of how slides were told apart; empty for nothing."""
        return ONE_SLIDE if "" in self._rows else ""

    def of(self, row: Row) -> Image | None:
        """The table of the row's slide, uint8 [256, 3]; None where nothing is to be scaled.

        Raises:
            ImageError: a picture of the slide is damaged.
        """
        slide = row.slide_key or ""
        if self._stain is None or slide not in self._rows:
            return None
        if slide not in self._tables:
            rows = self._rows[slide]
            looked = [self._look(self._dataset.read(rows[i])) for i in evenly(len(rows))]
            read = [cell_colour(crop, mask) for crop, mask in looked]
            colour = median_colour([one for one in read if one is not None])
            self._tables[slide] = None if colour is None else self._stain.table(colour)
        return self._tables[slide]

    def input(self, row: Row) -> Image:
        """The row's crop as the network sees it, uint8 [S, S, 3]."""
        crop, mask = self._look(self._dataset.read(row))
        return network_input(crop, self._target, mask, self.of(row))
