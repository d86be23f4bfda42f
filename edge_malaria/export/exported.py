"""What an export made, and the table that a user reads of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_malaria.bundle.contents import SECOND
from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.parity import ParityReport
from edge_malaria.parity.findings import REFERENCE


@dataclass(frozen=True, eq=False)
class Exported:
    """What came out.

    Attributes:
        path: the bundle.
        report: the gate's report.
        files: every model file of the classifier, with its variant.
        evaluation: measures on the val split where data was given, else None.
        elapsed_s: wall time.
        delta: the margin that was asked for, a fraction; the report holds the one that was used.
        recipe: where the int8 ranges come from.
        second: what came out of the second network, where the model has one.
    """

    path: Path
    report: ParityReport
    files: tuple[tuple[str, FileSpec], ...]
    evaluation: Mapping[str, Any] | None
    elapsed_s: float
    delta: float
    recipe: str
    second: Exported | None = None

    def verdict(self, variant: str, engine: str) -> str:
        """``passed``, and by which exception, or that a file was never compared."""
        compared = any(
            pair.reference == REFERENCE and pair.candidate == f"{engine}.{variant}"
            for pair in self.report.pairs
        )
        if not compared:
            return f"not run: {engine} is missing"
        found = []
        if self.report.settings.delta > self.delta:
            found.append(f"margin {self.report.settings.delta:.1%}")
        if self.report.temperature > 1.0:
            found.append(f"probabilities at temperature {self.report.temperature:.4g}")
        if variant == "int8-mixed":
            found.append(self.recipe)
        return f"passed ({', '.join(found)})" if found else "passed"


def size_table(exported: Exported) -> list[tuple[str, str, str, str, str]]:
    """Rows (variant, file, bytes, parity, accuracy on val) for the terminal."""
    accuracy, measured = "", ""
    if exported.evaluation is not None:
        accuracy = f"{exported.evaluation['accuracy']:.4f}"
        measured = str(exported.evaluation["variant"])
    rows = [
        (
            variant,
            spec.file,
            f"{spec.bytes:,}",
            exported.verdict(variant, spec.engine),
            accuracy if variant == measured else "",
        )
        for variant, spec in exported.files
    ]
    if exported.second is None:
        return rows
    # Its accuracy would be that of all cells, of which it is asked about few.
    rows += [
        (f"{SECOND}/{variant}", f"{SECOND}/{file}", size, parity, "")
        for variant, file, size, parity, _ in size_table(exported.second)
    ]
    return rows
