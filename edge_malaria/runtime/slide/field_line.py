"""A field's line of the journal: what was found in it, and what became of that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_malaria.prepare.stain import RGB, WINDOW_CELLS
from edge_malaria.records import (
    CELL_KINDS,
    KIND_EXPECTED,
    LABEL_EXPECTED,
    LABELS,
    Box,
    Cell,
    CellKind,
    Label,
    Prediction,
    expect,
    expect_rate,
)
from edge_malaria.runtime.slide.line_values import keys, number, rows, text, whole
from edge_malaria.runtime.slide.registration import Placement

SEEN_BEFORE = "seen-before"
UNREADABLE = "unreadable"
# A 200-megapixel field full of red cells of 45 px holds about as many.
MAX_CELLS_PER_FIELD = 100_000
# So many cells tell how large red cells are on this slide.
_SURE_CELLS = 10


def left_out(cell: Cell) -> Cell:
    """The cell, left out of the count as seen before."""
    return replace(cell, counted=False, reason=SEEN_BEFORE) if cell.counted else cell


@dataclass(frozen=True)
class CellRow:
    """One thing found in a field.

    Attributes:
        box: (x0, y0, x1, y1) px in the decoded image, half-open.
        kind: the finder's word.
        p_parasitized: calibrated probability, 0-1; None where no class was asked for.
        counted: whether it enters the count.
        reason: why it does not; empty where it does.
    """

    box: Box
    kind: CellKind
    p_parasitized: float | None
    counted: bool
    reason: str = ""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        expect(0 <= x0 < x1 and 0 <= y0 < y1, "a half-open box", self.box)
        expect(self.kind in CELL_KINDS, KIND_EXPECTED, self.kind)
        expect(self.counted == (not self.reason), "a reason where not counted", self.reason)
        if self.p_parasitized is not None:
            expect_rate(self.p_parasitized, "p_parasitized")

    @classmethod
    def of(cls, cell: Cell, prediction: Prediction | None) -> CellRow:
        """The row of a found cell; probabilities are kept to five places."""
        p = None if prediction is None else round(prediction.p_parasitized, 5)
        return cls(cell.box, cell.kind, p, cell.counted, cell.reason)

    def as_json(self) -> list[Any]:
        """[x0, y0, x1, y1, kind, p_parasitized, counted, reason]: short, as there are many."""
        return [*self.box, self.kind, self.p_parasitized, self.counted, self.reason]

    @classmethod
    def from_json(cls, value: Any) -> CellRow:
        """The inverse of ``as_json``."""
        expect(isinstance(value, list) and len(value) == 8, "a cell's eight values", value)
        x0, y0, x1, y1, kind, p, counted, reason = value
        box = (whole(x0), whole(y0), whole(x1), whole(y1))
        expect(isinstance(counted, bool), "true or false", counted)
        return cls(box, kind, None if p is None else number(p), counted, text(reason))


@dataclass(frozen=True)
class GalleryCell:
    """A cell's crop for the report.

    Attributes:
        index: of the cell among its field's.
        p_parasitized: 0-1.
        positive: called parasitized at the operating point.
        label: the classifier's word.
        jpeg: the crop's JPEG bytes in base64.
    """

    index: int
    p_parasitized: float
    positive: bool
    label: Label
    jpeg: str

    def __post_init__(self) -> None:
        expect(self.index >= 0, "index >= 0", self.index)
        expect_rate(self.p_parasitized, "p_parasitized")
        expect(self.label in LABELS, LABEL_EXPECTED, self.label)

    def as_json(self) -> list[Any]:
        """[index, p_parasitized, positive, label, jpeg]."""
        return [self.index, self.p_parasitized, self.positive, self.label, self.jpeg]

    @classmethod
    def from_json(cls, value: Any) -> GalleryCell:
        """The inverse of ``as_json``."""
        expect(isinstance(value, list) and len(value) == 5, "a gallery cell's five values", value)
        index, p, positive, label, jpeg = value
        expect(isinstance(positive, bool), "true or false", positive)
        return cls(whole(index), number(p), positive, label, text(jpeg))


@dataclass(frozen=True)
class StainSeen:
    """The colour that a field's cells were scaled from; see ``prepare.stain``.

    Attributes:
        rgb: the median red cell.
        window: colours of the latest cells, which a following field of few cells takes along.
    """

    rgb: RGB
    window: tuple[RGB, ...]

    def __post_init__(self) -> None:
        expect(len(self.window) <= WINDOW_CELLS, f"at most {WINDOW_CELLS} cells", len(self.window))
        levels = [level for colour in (self.rgb, *self.window) for level in colour]
        expect(all(0 <= level <= 255 for level in levels), "levels 0-255", levels)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"rgb": list(self.rgb), "window": [list(colour) for colour in self.window]}

    @classmethod
    def from_json(cls, value: Any) -> StainSeen:
        """The inverse of ``as_json``."""
        expect(isinstance(value, dict), "a stain", value)
        keys(value, ("rgb", "window"))
        window = rows(value["window"], WINDOW_CELLS)
        return cls(_colour(value["rgb"]), tuple(_colour(colour) for colour in window))


def _colour(value: Any) -> RGB:
    red, green, blue = (whole(level) for level in rows(value, 3))
    return red, green, blue


@dataclass(frozen=True)
class FieldLine:
    """One field that was looked at.

    Attributes:
        field: its name; index: its position in the source.
        reason: why it was refused; empty where it was counted.
        why: more words about that, such as the decoder's.
        size_px: (width, height) of the decoded image; None where there was none.
        place: where it lies; None where it was not placed.
        quality: measure -> value.
        stain: what its cells were scaled from; None where the bundle scales no colour.
        cells: everything found.
        positive, likely: counted cells at or above the operating point's and the balanced
            threshold.
        doubtful: counted cells of borderline score, from ``VerdictRules.doubtful_from`` to the
            operating point's; all that are not called in a field of faint colour.
        unsure: counted cells for which the classifier abstains.
        gallery: crops of the cells with the highest scores.
        picture: the annotated field's file below the report directory; empty for none.
        view: the field itself in full resolution there, where a cell is likely; empty for none.
        skipped: frames since the line before that showed nothing new.
        elapsed_s: of work on this slide so far.
    """

    kind = "field"
    field: str
    index: int
    reason: str = ""
    why: str = ""
    size_px: tuple[int, int] | None = None
    place: Placement | None = None
    quality: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cells: tuple[CellRow, ...] = ()
    positive: int = 0
    doubtful: int = 0
    likely: int = 0
    unsure: int = 0
    gallery: tuple[GalleryCell, ...] = ()
    picture: str = ""
    view: str = ""
    skipped: int = 0
    elapsed_s: float = 0.0
    stain: StainSeen | None = None

    def __post_init__(self) -> None:
        expect(self.field != "" and self.index >= 0, "a field's name and index", self.field)
        most = f"at most {MAX_CELLS_PER_FIELD} cells in a field"
        expect(len(self.cells) <= MAX_CELLS_PER_FIELD, most, len(self.cells))
        expect(not (self.reason and self.cells), "no cells in a refused field", len(self.cells))
        counts, counted = (self.positive, self.doubtful, self.likely, self.unsure), self.counted
        expect(min(counts) >= 0, "counts >= 0", counts)
        expect(max(counts) <= counted, f"counts up to {counted} counted cells", counts)
        expect(self.positive + self.doubtful <= counted, "each cell once", counts)
        expect(self.skipped >= 0, "skipped >= 0", self.skipped)
        expect(self.elapsed_s >= 0 and math.isfinite(self.elapsed_s), "seconds", self.elapsed_s)
        expect(all(g.index < len(self.cells) for g in self.gallery), "cells of this field", "more")
        for name in (self.picture, self.view):
            plain = not name.startswith("/") and ".." not in name and "\\" not in name
            expect(plain, "a picture below the report", name)
        if self.size_px is not None:
            width, height = self.size_px
            expect(width > 0 and height > 0, "a size in px", self.size_px)
            inside = all(c.box[2] <= width and c.box[3] <= height for c in self.cells)
            expect(inside, f"boxes inside {width} x {height} px", "one outside")

    @property
    def counted(self) -> int:
        """How many cells entered the count."""
        return sum(cell.counted for cell in self.cells)

    @property
    def counted_boxes(self) -> list[Box]:
        """The boxes of counted cells."""
        return [cell.box for cell in self.cells if cell.counted]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; what is empty is left out."""
        record: dict[str, Any] = {"field": self.field, "index": self.index}
        if self.size_px is not None:
            record["size_px"] = list(self.size_px)
        if self.place is not None:
            record["place"] = self.place.as_json()
        if self.cells:
            record["cells"] = [cell.as_json() for cell in self.cells]
        if self.gallery:
            record["gallery"] = [cell.as_json() for cell in self.gallery]
        for name in _FIELD_SCALARS:
            if getattr(self, name):
                record[name] = getattr(self, name)
        if self.quality:
            record["quality"] = dict(self.quality)
        if self.stain is not None:
            record["stain"] = self.stain.as_json()
        return record

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FieldLine:
        """The inverse of ``as_json``."""
        known = ("field", "index", "size_px", "place", "cells", "gallery", "quality", "stain")
        keys(value, ("field", "index"), (*known, *_FIELD_SCALARS))
        size, place, stain = value.get("size_px"), value.get("place"), value.get("stain")
        quality = value.get("quality", {})
        expect(isinstance(quality, dict), "measures", quality)
        cells = rows(value.get("cells", []), MAX_CELLS_PER_FIELD)
        return cls(
            text(value["field"]),
            whole(value["index"]),
            size_px=None if size is None else (whole(size[0]), whole(size[1])),
            place=None if place is None else Placement.from_json(place),
            quality={text(name): number(value_) for name, value_ in quality.items()},
            cells=tuple(CellRow.from_json(row) for row in cells),
            gallery=tuple(
                GalleryCell.from_json(row)
                for row in rows(value.get("gallery", []), MAX_CELLS_PER_FIELD)
            ),
            stain=None if stain is None else StainSeen.from_json(stain),
            reason=text(value.get("reason", "")),
            why=text(value.get("why", "")),
            picture=text(value.get("picture", "")),
            view=text(value.get("view", "")),
            elapsed_s=number(value.get("elapsed_s", 0.0)),
            **{name: whole(value.get(name, 0)) for name in _FIELD_COUNTS},
        )


_FIELD_COUNTS = ("positive", "doubtful", "likely", "unsure", "skipped")
_FIELD_SCALARS = ("reason", "why", "picture", "view", "elapsed_s", *_FIELD_COUNTS)


def cells_diameter(boxes: Sequence[Box]) -> float | None:
    """The median size of counted cells' boxes, px; None for fewer than ten."""
    if len(boxes) < _SURE_CELLS:
        return None
    return float(np.median([((x1 - x0) * (y1 - y0)) ** 0.5 for x0, y0, x1, y1 in boxes]))
