"""What a site's verification found: its errors, thresholds and limits of detection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_malaria.errors import DataError, UsageError
from edge_malaria.records import expect
from edge_malaria.runtime.slide.expected_errors import SlideErrors
from edge_malaria.runtime.slide.statistics import SlideStatistics

SCHEMA_VERSION = 1
DEFAULT_MAX_LOD = 0.01
# The site passes by its limit of detection from so many cells.
PASS_CELLS = 5000
LIMIT_CELLS = (500, 1000, 2000, 5000, 10_000, 20_000)


@dataclass(frozen=True, eq=False)
class SiteProfile:
    """What a site's verification found.

    Attributes:
        name: of the site.
        bundle_sha256: of the bundle that screened its slides.
        conditions: under which (classifier's file, finder, quality limits).
        screening, balanced: the site's thresholds.
        errors: what its next slide is judged by.
        negatives, cells: slides free of malaria and their cells.
        positives, parasitized: slides with malaria and their parasitized cells.
        limits: (cells, limit without a reader, limit with one), None where nothing is ever called.
        max_lod: what the site had to reach from ``PASS_CELLS`` cells.
        passed: whether it did.
    """

    name: str
    bundle_sha256: str
    conditions: Mapping[str, Any]
    screening: float
    balanced: float
    errors: SlideErrors
    negatives: int
    cells: int
    positives: int
    parasitized: int
    limits: tuple[tuple[int, float | None, float | None], ...]
    max_lod: float
    passed: bool

    def __post_init__(self) -> None:
        ordered = 0 < self.balanced <= self.screening < 1
        expect(ordered, "0 < balanced <= screening < 1", (self.balanced, self.screening))
        expect(len(self.bundle_sha256) == 64, "a SHA-256", self.bundle_sha256)
        expect(0 < self.max_lod <= 1, "0 < max_lod <= 1", self.max_lod)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` is the inverse."""
        return {
            "schema_version": SCHEMA_VERSION,
            **vars(self),
            "conditions": dict(self.conditions),
            "errors": self.errors.as_json(),
            "limits": [list(row) for row in self.limits],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SiteProfile:
        """The inverse of ``as_json``."""
        rest = {k: v for k, v in value.items() if k != "schema_version"}
        rest["errors"] = SlideErrors.from_json(rest["errors"])
        rest["limits"] = tuple((int(n), low, high) for n, low, high in rest["limits"])
        return cls(**rest)


def read_site(path: Path) -> SiteProfile:
    """Reads a site profile.

    Raises:
        DataError: missing, damaged or no site profile.
        UsageError: written by a newer version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
        version = value["schema_version"]
    except OSError as error:
        raise DataError(f"cannot read the site profile {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is no site profile. Make one with: site fit") from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path}: site profile of version {version}, this edge-malaria reads {SCHEMA_VERSION}."
        )
    try:
        return SiteProfile.from_json(value)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged: {error}. Fit the site again.") from error


def limit_table(
    statistics: SlideStatistics,
    cells: Sequence[int] = LIMIT_CELLS,
    flagged: float | None = None,
) -> tuple[tuple[int, float | None, float | None], ...]:
    """(cells, limit of detection without, with a reader) for some numbers of cells.

    ``flagged`` is the share of cells that is flagged; None takes what is usual without parasites.
    """
    return tuple(
        (n, statistics.limit_of_detection(n), statistics.limit_reviewed(n, flagged)) for n in cells
    )
