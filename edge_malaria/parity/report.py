"""The suite's verdict on one bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_malaria.parity.findings import (
    REFERENCE,
    STAGES,
    Failure,
    FinderPair,
    Findings,
    Pair,
    Settings,
)


@dataclass(frozen=True, eq=False)
class ParityReport:
    """The suite's verdict on one bundle; ``as_json`` gives the contract's keys.

    Attributes:
        bundle: name of the bundle.
        evidence: ``drawn``, or the split of the data set that was read as well.
        cells: how many drawn cells and how many of the data set were compared.
        not_run: what was left out, and why: an engine that is not installed, for example.
        pairs: every comparison.
        failures: of files and goldens, which belong to no pair.
        size_bytes: variant -> size of its TFLite (else ONNX) file.
        settings: how it was decided.
        elapsed_s: wall time.
        worst_layers: those that lose most, worst first, where int8 failed and was diagnosed.
        finder: the cell finder's files, compared by the cells they find.
        drawn_decide: whether calls on drawn cells decided, or labelled ones alone (``judges``).
        temperature: at which probabilities of labelled cells were compared; above 1 of a network
            of somebody else that is surer than its labels allow.
    """

    bundle: str
    evidence: str
    cells: Mapping[str, int]
    not_run: tuple[str, ...]
    pairs: tuple[Pair, ...]
    failures: tuple[Failure, ...]
    size_bytes: Mapping[str, int]
    settings: Settings
    elapsed_s: float = 0.0
    worst_layers: tuple[Mapping[str, Any], ...] = ()
    finder: tuple[FinderPair, ...] = ()
    drawn_decide: bool = True
    temperature: float = 1.0

    @property
    def passed(self) -> bool:
        """True where at least one pair was compared and nothing failed."""
        return bool(self.pairs) and not self.failures and all(pair.passed for pair in self.pairs)

    def without_pictures(self) -> ParityReport:
        """The same without the pictures of flipped cells, which only a page of HTML shows."""
        return replace(self, pairs=tuple(replace(pair, flipped=()) for pair in self.pairs))

    def all_failures(self) -> tuple[Failure, ...]:
        """Every failure, in the order of the stages."""
        found = [*self.failures, *(f for pair in self.pairs for f in pair.failures)]
        return tuple(sorted(found, key=lambda failure: STAGES.index(failure.stage)))

    def passed_variants(self) -> tuple[str, ...]:
        """The variants of which every file and pair passed."""
        failed = {f.subject.partition(".")[2] for f in self.all_failures() if "." in f.subject}
        seen = dict.fromkeys(pair.candidate.partition(".")[2] for pair in self.pairs)
        return tuple(variant for variant in seen if variant and variant not in failed)

    def findings_as(self, name: str) -> Findings:
        """What was found, of a network that another report calls ``name``.

        That nothing was compared is a failure too: the other report has pairs of its own.
        """
        start = f"{name}/"
        nothing = Failure("tensors", self.bundle, "pairs compared", "0", "at least 1", "1")
        failures = self.failures if self.pairs else (*self.failures, nothing)
        return Findings(
            failures=tuple(replace(f, subject=start + f.subject) for f in failures),
            pairs=tuple(
                replace(
                    pair,
                    reference=start + pair.reference,
                    candidate=start + pair.candidate,
                    failures=tuple(replace(f, subject=start + f.subject) for f in pair.failures),
                )
                for pair in self.pairs
            ),
            not_run=tuple(f"{name}: {line}" for line in self.not_run),
        )

    def finder_against_keras(self) -> tuple[FinderPair, ...]:
        """The finder's files against what Keras found when the bundle was exported."""
        return tuple(pair for pair in self.finder if pair.reference == REFERENCE)

    def as_json(self) -> dict[str, Any]:
        """The document of ``parity --json``."""
        return {
            "passed": self.passed,
            "bundle": self.bundle,
            "evidence": self.evidence,
            "cells": dict(self.cells),
            "delta": self.settings.delta,
            "operating_point": self.settings.operating_point,
            "not_run": list(self.not_run),
            "pairs": [pair.as_json() for pair in self.pairs],
            "failures": [failure.as_json() for failure in self.failures],
            "size_bytes": dict(self.size_bytes),
            "worst_layers": [dict(layer) for layer in self.worst_layers],
            "finder": [pair.as_json() for pair in self.finder],
            "elapsed_s": round(self.elapsed_s, 2),
        }
