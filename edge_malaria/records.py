"""Frozen, validated records that pass between the stages.

Images are uint8 [H, W, 3] RGB. Boxes are (x0, y0, x1, y1) in pixels, half-open. Rates are
fractions (0-1). Units stand in the names: ``_px _um _s _ms _bytes _per_ul``.
A record that is built wrongly raises ``ValueError("expected X, got Y")``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_malaria.notice import RESEARCH_USE as RESEARCH_USE

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
Interval = tuple[float, float]

CellKind = Literal["red-cell", "white-cell", "platelet", "debris"]
Label = Literal["parasitized", "uninfected", "unsure"]
Verdict = Literal["parasites-detected", "not-detected", "indeterminate"]
Basis = Literal["algorithm", "reader"]

CELL_KINDS: tuple[CellKind, ...] = ("red-cell", "white-cell", "platelet", "debris")
LABELS: tuple[Label, ...] = ("parasitized", "uninfected", "unsure")
VERDICTS: tuple[Verdict, ...] = ("parasites-detected", "not-detected", "indeterminate")
BASES: tuple[Basis, ...] = ("algorithm", "reader")


# Thousands of cells a field are checked: what is expected of them is not put in words each time.
KIND_EXPECTED, LABEL_EXPECTED = f"kind in {CELL_KINDS}", f"label in {LABELS}"


def expect(condition: bool, expected: str, got: object) -> None:
    """Raises ValueError("expected ..., got ...") unless ``condition`` holds."""
    if not condition:
        raise ValueError(f"expected {expected}, got {got!r}")


def expect_image(image: Image, name: str = "image") -> None:
    """Raises ValueError unless ``image`` is a non-empty uint8 [H, W, 3] array."""
    shape = getattr(image, "shape", None)
    ok = shape is not None and len(shape) == 3 and shape[2] == 3 and shape[0] > 0 and shape[1] > 0
    expect(ok, f"{name} of shape [H, W, 3]", shape)
    expect(image.dtype == np.uint8, f"{name} of dtype uint8", str(image.dtype))


def expect_rate(value: float, name: str) -> None:
    """Raises ValueError unless ``value`` lies between 0 and 1; NaN does not."""
    if not (0.0 <= value <= 1.0):
        expect(False, f"{name} between 0 and 1", value)


@dataclass(frozen=True, eq=False)
class Field:
    """One view of a slide.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        name: the source file's name, or ``video.mp4#17`` for a frame.
        index: position in the source, from 0.
        stream: whether it is a frame of a film or a camera: the stage may stand still, or move
            by less than a field, between two of them.
        jpeg: a JPEG of this very picture, where its source gave one; None elsewhere.
    """

    image: Image
    name: str
    index: int
    stream: bool = False
    jpeg: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        expect_image(self.image)
        expect(self.index >= 0, "index >= 0", self.index)


@dataclass(frozen=True, eq=False)
class Cell:
    """One thing found in a field.

    Attributes:
        box: (x0, y0, x1, y1) px in the decoded image, half-open, tight around ``mask``.
        mask: bool [y1 - y0, x1 - x0], True on the cell.
        kind: the finder's word.
        counted: whether it enters the count (whole red cells in a new region).
        reason: why it does not; empty where it does (``border``, ``overlap``, ``seen-before`` ...).
        score: the finder's confidence, 0-1.
    """

    box: Box
    mask: Mask
    kind: CellKind = "red-cell"
    counted: bool = True
    reason: str = ""
    score: float = 1.0

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        expect(x0 < x1 and y0 < y1 and x0 >= 0 and y0 >= 0, "a half-open box", self.box)
        if self.mask.shape != (y1 - y0, x1 - x0):
            expect(False, f"mask of {self.box}", self.mask.shape)
        if self.mask.dtype != np.bool_:
            expect(False, "mask of dtype bool", str(self.mask.dtype))
        expect(self.kind in CELL_KINDS, KIND_EXPECTED, self.kind)
        expect(
            self.counted == (self.reason == ""), "a reason exactly where not counted", self.reason
        )
        expect_rate(self.score, "score")


@dataclass(frozen=True)
class Prediction:
    """What the classifier says of one cell.

    Attributes:
        p_parasitized: calibrated probability, 0-1.
        positive: p_parasitized >= the operating point's threshold.
        label: ``unsure`` where the classifier abstains; otherwise by ``positive``.
        logit: the network's raw output.
    """

    p_parasitized: float
    positive: bool
    label: Label
    logit: float

    def __post_init__(self) -> None:
        expect_rate(self.p_parasitized, "p_parasitized")
        expect(self.label in LABELS, LABEL_EXPECTED, self.label)


@dataclass(frozen=True)
class SlideReport:
    """The report of one slide; ``as_json`` gives the contract's keys.

    Rates are fractions; ``*_per_ul`` are parasites (or red cells) per microlitre of blood.
    ``parasitemia``, ``ci95`` and ``parasites_per_ul`` are None where no number is known.
    ``review`` holds flagged, reviewed, confirmed, overturned and the readers' names; ``site`` is
    the site profile's name, None without one.
    """

    verdict: Verdict
    basis: Basis
    fields_seen: int
    fields_rejected: Mapping[str, int]
    cells_counted: int
    cells_positive: int
    cells_flagged: int
    review: Mapping[str, Any]
    parasitemia: float | None
    ci95: Interval | None
    parasites_per_ul: float | None
    rbc_per_ul: float
    limit_of_detection_per_ul: float | None
    limit_of_detection_reviewed_per_ul: float | None
    site: str | None
    model: str
    variant: str
    engine: str
    warnings: tuple[str, ...]
    elapsed_s: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expect(self.verdict in VERDICTS, f"verdict in {VERDICTS}", self.verdict)
        expect(self.basis in BASES, f"basis in {BASES}", self.basis)
        expect(
            (self.parasitemia is None) == (self.parasites_per_ul is None),
            "parasites per microlitre exactly where there is a parasitemia",
            self.parasites_per_ul,
        )
        expect(
            0 <= self.cells_positive <= self.cells_counted,
            "0 <= cells_positive <= cells_counted",
            (self.cells_positive, self.cells_counted),
        )
        if self.parasitemia is not None:
            expect_rate(self.parasitemia, "parasitemia")
        expect(self.rbc_per_ul > 0, "rbc_per_ul > 0", self.rbc_per_ul)

    def as_json(self) -> dict[str, Any]:
        """The keys of ``screen --json``, JSON-ready."""
        return {
            "verdict": self.verdict,
            "basis": self.basis,
            "fields_seen": self.fields_seen,
            "fields_rejected": dict(self.fields_rejected),
            "cells_counted": self.cells_counted,
            "cells_positive": self.cells_positive,
            "cells_flagged": self.cells_flagged,
            "review": dict(self.review),
            "parasitemia": self.parasitemia,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "parasites_per_ul": self.parasites_per_ul,
            "rbc_per_ul": self.rbc_per_ul,
            "limit_of_detection_per_ul": self.limit_of_detection_per_ul,
            "limit_of_detection_reviewed_per_ul": self.limit_of_detection_reviewed_per_ul,
            "site": self.site,
            "model": self.model,
            "variant": self.variant,
            "engine": self.engine,
            "warnings": list(self.warnings),
            "elapsed_s": self.elapsed_s,
        }
