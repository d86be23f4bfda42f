"""The flagged cells of a slide and what readers said of them, from the journal.

Flagged are the counted cells at or above the balanced threshold. Each decision is a line of the
journal; a reader's later decision on a cell replaces the earlier one, and ``withdrawn`` brings the
earlier one back. All lines stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge_malaria.records import Box, expect
from edge_malaria.runtime.slide.counts import ReviewCount
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import ReviewLine

Status = Literal["waiting", "confirmed", "overturned", "unsure", "conflict"]
CellKey = tuple[str, int]
MOST_NAME_CHARACTERS = 80


@dataclass(frozen=True)
class FlaggedCell:
    """One cell that a person should look at.

    Attributes:
        field, index: its field's name and its place among that field's cells.
        box: px in the field, half-open; size_px: (width, height) of the field.
        p_parasitized: 0-1.
        positive: whether it reaches the screening threshold, too.
        view: the field's picture in full resolution below the report directory; empty for none.
        jpeg: its crop, JPEG bytes in base64; empty for none.
    """

    field: str
    index: int
    box: Box
    size_px: tuple[int, int]
    p_parasitized: float
    positive: bool
    view: str
    jpeg: str

    @property
    def key(self) -> CellKey:
        """What names the cell."""
        return self.field, self.index


def flagged_of(line: FieldLine) -> list[FlaggedCell]:
    """The flagged cells of one field: as many of the highest scores as were likely.

    The journal keeps probabilities to five places, so the counts decide, not the rounded values.
    """
    if not line.likely or line.size_px is None:
        return []
    scored = [
        (cell.p_parasitized, -index)
        for index, cell in enumerate(line.cells)
        if cell.counted and cell.p_parasitized is not None
    ]
    crops = {cell.index: cell.jpeg for cell in line.gallery}
    best = sorted(scored, reverse=True)[: line.likely]
    return [
        FlaggedCell(
            line.field, -back, line.cells[-back].box, line.size_px, p, rank < line.positive,
            line.view, crops.get(-back, ""),
        )
        for rank, (p, back) in enumerate(best)
    ]  # fmt: skip


def reader_name(name: str) -> str:
    """A reader's name as it is kept: spaces trimmed.

    Raises:
        ValueError: empty, too long or with control characters.
    """
    clean = " ".join(name.split())
    sound = 0 < len(clean) <= MOST_NAME_CHARACTERS and clean.isprintable()
    expect(sound, f"a reader's name of up to {MOST_NAME_CHARACTERS} characters", name)
    return clean


class Review:
    """The flagged cells, those that look most like parasites first, and the decisions on them.

    Args:
        cells: flagged ones.
        lines: decisions in the order in which they were made; those on other cells are left out.
    """

    def __init__(self, cells: list[FlaggedCell], lines: list[ReviewLine]) -> None:
        self.cells = sorted(cells, key=lambda c: -c.p_parasitized)
        self._decisions: dict[CellKey, dict[str, list[ReviewLine]]] = {c.key: {} for c in cells}
        for line in lines:
            self.add(line)

    @classmethod
    def of(cls, journal: Journal) -> Review:
        """As the journal holds it."""
        cells: list[FlaggedCell] = []
        lines: list[ReviewLine] = []
        for line in journal.lines():
            if isinstance(line, FieldLine):
                cells += flagged_of(line)
            elif isinstance(line, ReviewLine):
                lines.append(line)
        return cls(cells, lines)

    def add(self, line: ReviewLine) -> None:
        """Takes up one decision."""
        own = self._decisions.get((line.field, line.index))
        if own is None:
            return
        stack = own.setdefault(line.reader, [])
        if line.decision != "withdrawn":
            stack.append(line)
        elif stack:
            stack.pop()

    def knows(self, key: CellKey) -> bool:
        """Whether the cell is flagged."""
        return key in self._decisions

    def decisions(self, key: CellKey) -> Mapping[str, ReviewLine]:
        """reader -> the decision that stands."""
        return {name: stack[-1] for name, stack in self._decisions[key].items() if stack}

    def status(self, key: CellKey) -> Status:
        """What stands about a cell."""
        words = {line.decision for line in self.decisions(key).values()}
        if {"parasite", "no-parasite"} <= words:
            return "conflict"
        if "parasite" in words:
            return "confirmed"
        if "no-parasite" in words:
            return "overturned"
        return "unsure" if words else "waiting"

    def count(self, upper_from: float | None = None) -> ReviewCount:
        """What the statistics need.

        Args:
            upper_from: the threshold of ``ReviewCount.confirmed_upper``; None takes the screening
                threshold.
        """
        found = [self.status(cell.key) for cell in self.cells]
        by = [
            sum(line.decision == "parasite" for line in self.decisions(cell.key).values())
            for cell, status in zip(self.cells, found, strict=True)
            if status == "confirmed"
        ]
        readers = {name for cell in self.cells for name in self.decisions(cell.key)}
        return ReviewCount(
            flagged=len(found),
            reviewed=len(found) - found.count("waiting"),
            confirmed=found.count("confirmed"),
            overturned=found.count("overturned"),
            unsure=found.count("unsure"),
            conflicts=found.count("conflict"),
            confirmed_by=max(by, default=0),
            confirmed_upper=sum(
                status == "confirmed"
                and (cell.positive if upper_from is None else cell.p_parasitized >= upper_from)
                for cell, status in zip(self.cells, found, strict=True)
            ),
            readers=tuple(sorted(readers)),
        )
