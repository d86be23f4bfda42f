"""The kinds of lines of a slide's journal, as records.

A line that cannot be (a negative box, more cells than a field has room for, an unknown key) never
becomes a record: ``from_json`` raises ``ValueError`` and the journal skips and names the line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from edge_malaria.records import expect
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.line_values import keys, rows, text, whole

ReviewDecision = Literal["parasite", "no-parasite", "unsure", "withdrawn"]
REVIEW_DECISIONS: tuple[ReviewDecision, ...] = get_args(ReviewDecision)


@dataclass(frozen=True)
class HeaderLine:
    """The first line: what the run is; a resumed run must agree with it.

    Attributes:
        source: as the user named it.
        bundle_sha256: of the bundle's index.
        settings: name -> JSON value, all that decides about fields and cells.
        started: ISO date and time by this machine's clock; says nothing about order.
    """

    kind = "header"
    source: tuple[str, ...]
    bundle_sha256: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    started: str = ""

    def different(self, other: HeaderLine) -> list[str]:
        """The names of what differs between two runs; [] where one may continue the other."""
        names = []
        if self.source != other.source:
            names.append("source")
        if self.bundle_sha256 != other.bundle_sha256:
            names.append("bundle")
        keys = sorted(set(self.settings) | set(other.settings))
        missing = object()
        return names + [
            key
            for key in keys
            if self.settings.get(key, missing) != other.settings.get(key, missing)
        ]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "source": list(self.source),
            "bundle_sha256": self.bundle_sha256,
            "settings": dict(self.settings),
            "started": self.started,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HeaderLine:
        """The inverse of ``as_json``."""
        keys(value, ("source", "bundle_sha256", "settings", "started"))
        source = tuple(text(part) for part in rows(value["source"], 100_000))
        expect(isinstance(value["settings"], dict), "settings", value["settings"])
        started = text(value["started"])
        return cls(source, text(value["bundle_sha256"]), value["settings"], started)


@dataclass(frozen=True)
class SlideLine:
    """A fact about the slide that was fixed on the way, so that a resumed run repeats it.

    Attributes:
        name: what it is, such as ``scale`` or ``camera``.
        value: any JSON value; the latest line of a name holds.
    """

    kind = "slide"
    name: str
    value: Any

    def __post_init__(self) -> None:
        expect(bool(self.name), "a fact's name", self.name)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "value": self.value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlideLine:
        """The inverse of ``as_json``."""
        keys(value, ("name", "value"))
        return cls(text(value["name"]), value["value"])


@dataclass(frozen=True)
class ReviewLine:
    """A person's decision on one cell; a later one of the same reader replaces it, both stay.

    Attributes:
        field, index: the cell: its field's name and its place among that field's cells.
        decision: ``withdrawn`` takes the reader's decision before it back.
        reader: who decided.
        at: ISO date and time by the clock of the machine.
    """

    kind = "review"
    field: str
    index: int
    decision: ReviewDecision
    reader: str
    at: str

    def __post_init__(self) -> None:
        expect(bool(self.field) and self.index >= 0, "a cell", (self.field, self.index))
        known = f"decision in {REVIEW_DECISIONS}"
        expect(self.decision in REVIEW_DECISIONS, known, self.decision)
        expect(bool(self.reader.strip()), "a reader's name", self.reader)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "field": self.field,
            "index": self.index,
            "decision": self.decision,
            "reader": self.reader,
            "at": self.at,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReviewLine:
        """The inverse of ``as_json``."""
        keys(value, ("field", "index", "decision", "reader", "at"))
        decision = cast("ReviewDecision", value["decision"])
        where = text(value["field"]), whole(value["index"])
        return cls(*where, decision, text(value["reader"]), text(value["at"]))


Line = HeaderLine | FieldLine | SlideLine | ReviewLine
KINDS: Mapping[str, type[Line]] = {
    line.kind: line for line in (HeaderLine, FieldLine, SlideLine, ReviewLine)
}
