"""Does this machine give the outputs that the exporting machine recorded? No data set needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import Goldens, read_goldens
from edge_malaria.bundle.limits import golden_difference, limits_of
from edge_malaria.bundle.spec import Bundle
from edge_malaria.prepare.contract import Target
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.runtime.engines.opening import installed_engines, open_engine

# Golden cells of a second network that are run: enough to tell a machine that computes otherwise,
# and a quarter of the time on a small board.
SECOND_CELLS = 256


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

    The bundle's hashes were verified when it was opened. The files of its second network are run
    too, on a quarter of their golden cells; their variants bear the name ``second/``.
    """
    found = _of_network(bundle)
    if bundle.second is None:
        return found
    second = _of_network(bundle.second, SECOND_CELLS)
    return replace(
        found,
        rows=found.rows + tuple(replace(r, variant=f"second/{r.variant}") for r in second.rows),
        failures=found.failures + tuple(f"second network: {line}" for line in second.failures),
        not_run=found.not_run + tuple(f"second network: {line}" for line in second.not_run),
    )


def _of_network(bundle: Bundle, most: int | None = None) -> SelftestResult:
    """One network on its golden cells, on at most ``most`` of them, evenly spread."""
    goldens = read_goldens(bundle.contents)
    inputs = goldens.cells.inputs
    chosen = slice(None, None, 1 if most is None else max(1, len(inputs) // most))
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
                raw = opened.run_raw(inputs[chosen]).reshape(-1)
                row, why = _row(engine, variant, raw, stored.raw[chosen])
                rows.append(row)
                failures += [why] if why else []
    return SelftestResult(
        bundle.name, len(bundle.contents), tuple(rows), tuple(failures), tuple(not_run)
    )


def _row(
    engine: str, variant: str, got: NDArray[Any], expected: NDArray[Any]
) -> tuple[SelftestRow, str]:
    """The row, and what to say where it does not hold."""
    found = golden_difference(got, expected, limits_of(variant))
    passed = found.fits and len(expected) > 0
    # JSON knows no infinity.
    largest = min(found.largest, 1e9)
    row = SelftestRow(engine, variant, len(expected), found.differing, largest, passed)
    worst, limit = found.texts
    why = f"{variant} on {engine}: outputs differ by {worst} from the recorded ones ({limit})"
    return row, "" if passed else why


def _preprocessing_failures(goldens: Goldens, size_px: Target) -> list[str]:
    crops, masks = zip(*(crop.decoded() for crop in goldens.cells.crops), strict=True)
    made = network_inputs(list(crops), size_px, list(masks))
    if made.size and np.array_equal(made, goldens.cells.crop_inputs):
        return []
    differing = int((made != goldens.cells.crop_inputs).sum())
    return [f"preprocessing: {differing} bytes of the golden crops' inputs differ"]
