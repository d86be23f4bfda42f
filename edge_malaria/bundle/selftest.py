"""Does this machine give the outputs that the exporting machine recorded? No data set needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_malaria.bundle.format import Bundle
from edge_malaria.bundle.golden import Goldens, read_goldens
from edge_malaria.prepare.contract import Target
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.runtime.engines.opening import installed_engines, open_engine

# Float outputs of other processors differ by the order of their sums; a logit is of order 1-10.
MAX_FLOAT_DIFF = 1e-3
# Integer engines agree bit for bit with themselves; TFLite's built-in kernels, which 32-bit ARM
# runs, are up to three steps off XNNPACK's.
MAX_INTEGER_STEPS = 4


@dataclass(frozen=True)
class SelftestRow:
    """One file on one engine: how many golden outputs differ, and by how much at most."""

    engine: str
    variant: str
    cells: int
    differing: int
    largest_step: float
    passed: bool


@dataclass(frozen=True)
class SelftestResult:
    """What the self-test found; ``passed`` needs at least one file that ran."""

    bundle: str
    files: int
    rows: tuple[SelftestRow, ...]
    failures: tuple[str, ...]
    not_run: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True where something ran and nothing failed."""
        return bool(self.rows) and not self.failures and all(row.passed for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """The document of ``selftest --json``."""
        return {
            "passed": self.passed,
            "bundle": self.bundle,
            "files": self.files,
            "rows": [vars(row) for row in self.rows],
            "failures": list(self.failures),
            "not_run": list(self.not_run),
        }


def run_selftest(bundle: Bundle) -> SelftestResult:
    """Decodes and prepares the golden crops, then runs every file whose engine is installed.

    The bundle's hashes were verified when it was opened.
    """
    goldens = read_goldens(bundle.contents)
    failures = _preprocessing_failures(goldens, bundle.classifier.target)
    rows, not_run = [], []
    for variant, files in bundle.classifier.variants.items():
        for engine, spec in files.items():
            stored = goldens.engines.get(f"{engine}.{variant}")
            if engine not in installed_engines():
                not_run.append(f"{variant} on {engine}: not installed")
            elif stored is None:
                not_run.append(f"{variant} on {engine}: no recorded outputs")
            else:
                opened = open_engine(bundle.read(spec.file), engine)
                raw = opened.run_raw(goldens.cells.inputs).reshape(-1)
                rows.append(_row(engine, variant, raw, stored.raw))
                if not rows[-1].passed:
                    failures.append(
                        f"{variant} on {engine}: outputs differ by {rows[-1].largest_step:g} from "
                        "the recorded ones"
                    )
    return SelftestResult(
        bundle.name, len(bundle.contents), tuple(rows), tuple(failures), tuple(not_run)
    )


def _row(engine: str, variant: str, got: Any, expected: Any) -> SelftestRow:
    integer = np.issubdtype(expected.dtype, np.integer)
    same_kind = got.dtype == expected.dtype and got.shape == expected.shape
    if not same_kind or not len(expected):
        return SelftestRow(engine, variant, len(expected), len(expected), 1e9, False)
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    largest = float(difference.max()) if np.isfinite(difference).all() else 1e9
    limit = MAX_INTEGER_STEPS if integer else MAX_FLOAT_DIFF
    return SelftestRow(
        engine, variant, len(expected), int((difference > 0).sum()), largest, largest <= limit
    )


def _preprocessing_failures(goldens: Goldens, size_px: Target) -> list[str]:
    crops, masks = zip(*(crop.decoded() for crop in goldens.cells.crops), strict=True)
    made = network_inputs(list(crops), size_px, list(masks))
    if made.size and np.array_equal(made, goldens.cells.crop_inputs):
        return []
    differing = int((made != goldens.cells.crop_inputs).sum())
    return [f"preprocessing: {differing} bytes of the golden crops' inputs differ"]
