"""Sums over the fields of a slide, all that is kept in memory of them."""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from dataclasses import dataclass

from edge_malaria.runtime.slide.counts import SlideCount
from edge_malaria.runtime.slide.field_line import UNREADABLE, FieldLine, GalleryCell
from edge_malaria.runtime.slide.registration import Placement

# Frames whose pictures the registration needs again when a slide is resumed.
_REPLAYED = 8
# So many names of unreadable files are kept for the report.
_UNREADABLE_NAMED = 10


@dataclass(frozen=True)
class PlacedFrame:
    """A recent frame; see the attributes of ``FieldLine``."""

    field: str
    reason: str
    place: Placement | None


@dataclass(frozen=True, order=True)
class GalleryEntry:
    """A cell of the gallery; sorts by score, earlier cells first among equals."""

    p_parasitized: float
    order: int
    field: str = dataclasses.field(compare=False)
    cell: GalleryCell = dataclasses.field(compare=False)


@dataclass
class SlideTotals:
    """Sums over the fields so far.

    Attributes:
        seen: fields looked at; skipped: frames of places that were counted already.
        unsure: counted cells for which the classifier abstains.
        unreadable: the names of the first files that could not be read.
        gallery: heap of the cells with the highest scores.
        recent: the latest frames, of which a resumed slide needs the pictures again.
    """

    seen: int = 0
    accepted: int = 0
    skipped: int = 0
    rejected: Counter[str] = dataclasses.field(default_factory=Counter)
    cells: int = 0
    positive: int = 0
    borderline: int = 0
    likely: int = 0
    unsure: int = 0
    pictures: int = 0
    unreadable: list[str] = dataclasses.field(default_factory=list)
    gallery: list[GalleryEntry] = dataclasses.field(default_factory=list)
    names: set[str] = dataclasses.field(default_factory=set)
    recent: list[PlacedFrame] = dataclasses.field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def count(self) -> SlideCount:
        """What the statistics need."""
        return SlideCount(self.cells, self.positive, self.borderline, self.likely)

    def add(self, line: FieldLine, gallery_cells: int) -> None:
        """Adds one field's line of the journal."""
        self.names.add(line.field)
        self.seen += 1
        self.skipped += line.skipped
        self.elapsed_s = max(self.elapsed_s, line.elapsed_s)
        if line.reason:
            self.rejected[line.reason] += 1
            if line.reason == UNREADABLE and len(self.unreadable) < _UNREADABLE_NAMED:
                self.unreadable.append(line.field)
        else:
            self.accepted += 1
        self.cells += line.counted
        self.positive += line.positive
        self.borderline += line.doubtful
        self.likely += line.likely
        self.unsure += line.unsure
        self.pictures += bool(line.picture)
        for cell in line.gallery:
            order = -len(self.names) * 1000 - cell.index
            entry = GalleryEntry(cell.p_parasitized, order, line.field, cell)
            if len(self.gallery) < gallery_cells:
                heapq.heappush(self.gallery, entry)
            else:
                heapq.heappushpop(self.gallery, entry)
        frame = PlacedFrame(line.field, line.reason, line.place)
        self.recent = [*self.recent[-(_REPLAYED - 1) :], frame]
