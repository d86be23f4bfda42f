"""What the parity suite finds: failures and pairs, and the settings that decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge_malaria.bundle.limits import LIMITS, Limits, limits_of
from edge_malaria.records import Image, Interval, expect

# The order in which a file is checked; a later stage explains little where an earlier one failed.
STAGES = ("signature", "goldens", "tensors", "files", "statistics")
REFERENCE = "keras"


@dataclass(frozen=True)
class Settings:
    """How the suite decides.

    Attributes:
        delta: non-inferiority margin of sensitivity and specificity, a fraction.
        operating_point: whose threshold makes the calls.
        resamples, seed: of the bootstrap over patients.
        min_golden: fewest drawn cells that count as evidence.
        min_stored: fewest where labelled cells are the evidence, and drawn ones only show that
            every file still gives its stored outputs.
        limits: by variant.
    """

    delta: float = 0.01
    operating_point: str = "balanced"
    resamples: int = 2000
    seed: int = 0
    min_golden: int = 1024
    min_stored: int = 256
    limits: Mapping[str, Limits] = field(default_factory=lambda: LIMITS)

    def __post_init__(self) -> None:
        expect(0.0 < self.delta < 1.0, "delta between 0 and 1", self.delta)
        expect(self.resamples >= 200, "at least 200 resamples", self.resamples)

    @property
    def min_cells(self) -> int:
        """Fewest cells of each class that can show a change below ``delta``.

        With none of n cells changed the upper 95 % bound of the share changed is 3 / n (the rule
        of three), so n must be at least 3 / delta.
        """
        return math.ceil(3.0 / self.delta - 1e-9)

    def limits_of(self, variant: str) -> Limits:
        """The limits of a variant; an unknown one gets those of float32, the strictest."""
        return limits_of(variant, self.limits)


@dataclass(frozen=True)
class Failure:
    """One thing that did not hold.

    Attributes:
        stage: one of ``STAGES``.
        subject: ``litert.int8``, ``golden/cells.npz``, ``bundle.json`` ...
        what: the quantity.
        got, expected, limit: as text; ``limit`` is empty where equality was asked for.
        cause: what most likely happened, where the suite can tell.
    """

    stage: str
    subject: str
    what: str
    got: str
    expected: str
    limit: str = ""
    cause: str = ""

    def __post_init__(self) -> None:
        expect(self.stage in STAGES, f"stage in {STAGES}", self.stage)

    @property
    def message(self) -> str:
        """One line."""
        limit = f" (limit {self.limit})" if self.limit else ""
        cause = f": {self.cause}" if self.cause else ""
        return (
            f"[{self.stage}] {self.subject}: {self.what}: got {self.got}, "
            f"expected {self.expected}{limit}{cause}"
        )

    def as_json(self) -> dict[str, str]:
        """The JSON object in a report."""
        return {
            "stage": self.stage,
            "subject": self.subject,
            "what": self.what,
            "got": self.got,
            "expected": self.expected,
            "limit": self.limit,
            "cause": self.cause,
            "message": self.message,
        }

    def because(self, cause: str) -> Failure:
        """The same failure with a cause, unless it has one already."""
        return self if self.cause or not cause else replace(self, cause=cause)


def signature_failure(
    subject: str, what: str, got: object, expected: object, cause: str = ""
) -> Failure:
    """Something that stands in a file or in bundle.json and should not."""
    return Failure("signature", subject, what, str(got), str(expected), "", cause)


@dataclass(frozen=True, eq=False)
class Flip:
    """A cell on which two models call differently.

    Attributes:
        row: position among the cells compared.
        name: file name or ``drawn cell 17``.
        truth: 1, 0, or None where unknown.
        p_reference, p_candidate: calibrated probabilities.
        image: what the network saw, uint8 [S, S, 3] RGB.
    """

    row: int
    name: str
    truth: int | None
    p_reference: float
    p_candidate: float
    image: Image


@dataclass(frozen=True, eq=False)
class Pair:
    """One model against its reference on the same cells.

    Attributes:
        reference, candidate: ``keras``, or ``engine.variant``.
        evidence: ``drawn``, ``crops`` or the split of a data set.
        n: cells compared.
        max_abs_diff, mean_abs_diff: of calibrated probabilities.
        sqnr_db: of the logits; None where they are identical (no noise at all).
        lsb_histogram: difference in output steps -> cells, where both outputs are integers.
        mcnemar_p: exact, on who is right (with labels) or on who calls positive (without).
        delta_sensitivity, delta_specificity: candidate minus reference; None without labels.
    """

    reference: str
    candidate: str
    evidence: str
    n: int
    max_abs_diff: float
    mean_abs_diff: float
    sqnr_db: float | None
    label_agreement: float
    flips: int
    mcnemar_p: float
    bit_identical: bool
    lsb_histogram: Mapping[int, int] | None = None
    delta_sensitivity: float | None = None
    delta_sensitivity_ci95: Interval | None = None
    delta_specificity: float | None = None
    delta_specificity_ci95: Interval | None = None
    failures: tuple[Failure, ...] = ()
    flipped: tuple[Flip, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """The contract's object; what is not a finite number becomes null."""
        histogram = self.lsb_histogram
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "evidence": self.evidence,
            "n": self.n,
            "max_abs_diff": finite(self.max_abs_diff),
            "mean_abs_diff": finite(self.mean_abs_diff),
            "label_agreement": finite(self.label_agreement),
            "flips": self.flips,
            "mcnemar_p": finite(self.mcnemar_p),
            "delta_sensitivity": finite(self.delta_sensitivity),
            "delta_sensitivity_ci95": _interval(self.delta_sensitivity_ci95),
            "delta_specificity": finite(self.delta_specificity),
            "delta_specificity_ci95": _interval(self.delta_specificity_ci95),
            "sqnr_db": finite(self.sqnr_db),
            "lsb_histogram": None
            if histogram is None
            else {str(k): v for k, v in histogram.items()},
            "bit_identical": self.bit_identical,
            "failures": [failure.as_json() for failure in self.failures],
        }


def finite(value: float | None) -> float | None:
    """``value``, or None where it is NaN or infinite (JSON knows neither)."""
    return None if value is None or not np.isfinite(value) else float(value)


def _interval(value: Interval | None) -> list[float] | None:
    return None if value is None else [float(value[0]), float(value[1])]


@dataclass(frozen=True)
class FinderPair:
    """One file against a reference: ``agreement`` is the smaller of recall and precision."""

    reference: str
    candidate: str
    fields: int
    cells: int
    agreement: float
    least: float

    @property
    def passed(self) -> bool:
        """Whether enough of the same cells were found."""
        return bool(self.agreement >= self.least)

    def as_json(self) -> dict[str, Any]:
        """The JSON object in a report."""
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "fields": self.fields,
            "cells": self.cells,
            "agreement": self.agreement,
            "least": self.least,
            "passed": self.passed,
        }


@dataclass(frozen=True, eq=False)
class Findings:
    """What a part of the suite found; findings add up.

    Attributes:
        failures: of files, goldens and bundle.json.
        pairs: comparisons of the classifier's outputs.
        finder: comparisons of the cells that the finder's files find.
        not_run: what was left out, and why.
        cells: evidence -> cells compared.
        temperature: at which probabilities of labelled cells were compared; see ``judges``.
    """

    failures: tuple[Failure, ...] = ()
    pairs: tuple[Pair, ...] = ()
    finder: tuple[FinderPair, ...] = ()
    not_run: tuple[str, ...] = ()
    cells: Mapping[str, int] = field(default_factory=dict)
    temperature: float = 1.0

    def __add__(self, other: Findings | Sequence[Failure]) -> Findings:
        if not isinstance(other, Findings):
            return replace(self, failures=(*self.failures, *other))
        return Findings(
            failures=self.failures + other.failures,
            pairs=self.pairs + other.pairs,
            finder=self.finder + other.finder,
            not_run=self.not_run + other.not_run,
            cells={**self.cells, **other.cells},
            temperature=max(self.temperature, other.temperature),
        )
