"""Sums over the fields of a slide, all that is kept in memory of them."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edge_malaria.runtime.slide.statistics import SlideCount

# Frames whose pictures the registration needs again when a slide is resumed.
_REPLAYED = 8


@dataclass
class SlideTotals:
    """Sums over the fields so far.

    Attributes:
        seen: fields looked at; skipped: frames of places that were counted already.
        gallery: heap of (score, order, entry) of the cells with the highest scores.
    """

    seen: int = 0
    accepted: int = 0
    skipped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    cells: int = 0
    positive: int = 0
    doubtful: int = 0
    likely: int = 0
    pictures: int = 0
    gallery: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    recent: list[dict[str, Any]] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def count(self) -> SlideCount:
        """What the statistics need."""
        return SlideCount(self.cells, self.positive, self.doubtful, self.likely)

    def add(self, record: dict[str, Any], gallery_cells: int) -> None:
        """Adds one journal record."""
        self.names.add(record["field"])
        self.seen += 1
        self.skipped += int(record.get("skipped", 0))
        self.elapsed_s = float(record.get("elapsed_s", self.elapsed_s))
        if record["reason"]:
            self.rejected[record["reason"]] += 1
        else:
            self.accepted += 1
        self.cells += record.get("counted", 0)
        self.positive += record.get("positive", 0)
        self.doubtful += record.get("doubtful", 0)
        self.likely += record.get("likely", 0)
        self.pictures += bool(record.get("picture"))
        for entry in record.get("gallery", ()):
            item = (float(entry["p"]), -len(self.names) * 1000 - int(entry["index"]), entry)
            if len(self.gallery) < gallery_cells:
                heapq.heappush(self.gallery, item)
            else:
                heapq.heappushpop(self.gallery, item)
        self.recent = [*self.recent[-(_REPLAYED - 1) :], {k: record.get(k) for k in _KEPT}]


_KEPT = ("field", "reason", "place")
