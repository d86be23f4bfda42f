"""The self-test's limits are the gate's, and those that docs/PARITY.md states."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.limits import LIMITS
from edge_malaria.bundle.selftest import SelftestResult, SelftestRow, run_selftest
from edge_malaria.parity import findings
from tests.parity.faults import rehash

ROOT = Path(__file__).parents[2]


def _row(result: SelftestResult, variant: str) -> SelftestRow:
    return next(r for r in result.rows if (r.engine, r.variant) == ("litert", variant))


@pytest.mark.parametrize(
    ("variant", "shift", "passes"),
    [
        ("dynamic", 0.2, True),  # as far as other processors' kernels are
        ("dynamic", 0.3, False),
        ("float32", 0.0005, True),
        ("float32", 0.002, False),
        ("int8", 4, True),
        ("int8", 5, False),
    ],
)
def test_stored_outputs_may_differ_by_the_gate_s_limit(
    shipped_bundle: Path, tmp_path: Path, variant: str, shift: float, passes: bool
) -> None:
    bundle = Path(shutil.copytree(shipped_bundle.with_name("micro"), tmp_path / "bundle"))
    path = bundle / "golden" / f"litert.{variant}.npz"
    with np.load(path) as stored:
        values = dict(stored)
    raw = values["raw"]
    place = int(np.argmin(np.abs(raw.astype(np.float64))))  # far from the ends of int8
    raw[place] += np.array(shift, raw.dtype)
    np.savez(path, **values)
    rehash(bundle)
    result = run_selftest(read_bundle(bundle))
    row = _row(result, variant)
    assert row.passed == passes
    assert row.differing >= 1
    assert result.passed == passes
    assert any(variant in line for line in result.failures) != passes


def test_a_stored_output_that_is_no_number_fails(shipped_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle.with_name("micro"), tmp_path / "bundle"))
    path = bundle / "golden" / "litert.float32.npz"
    with np.load(path) as stored:
        values = dict(stored)
    values["raw"][7] = np.nan
    np.savez(path, **values)
    rehash(bundle)
    assert not _row(run_selftest(read_bundle(bundle)), "float32").passed


def test_parity_md_states_the_limits_that_decide() -> None:
    assert findings.LIMITS is LIMITS
    text = (ROOT / "docs" / "PARITY.md").read_text()
    row = r"^\| ([a-z0-9, -]+) \| ([\d.e-]+) \| (\d+) dB \| ([\d.]+) % \| ([\d.]+) % \|"
    rows = re.findall(row, text, re.MULTILINE)
    stated = {v: tuple(map(float, rest)) for names, *rest in rows for v in names.split(", ")}
    assert stated == {
        variant: (
            limit.max_abs_diff,
            limit.sqnr_db,
            round(limit.near_agreement * 100, 6),
            round(limit.label_agreement * 100, 6),
        )
        for variant, limit in LIMITS.items()
    }
    words = (
        r"\| (\d+) output steps \(integer\), ([\d.]+) of a logit \(float\), ([\d.]+) \(dynamic\) \|"
    )
    said = re.search(words, text)
    assert said is not None
    steps, logit, dynamic = map(float, said.groups())
    for variant, limit in LIMITS.items():
        assert limit.golden_lsb == steps
        assert limit.golden_logit == (dynamic if variant == "dynamic" else logit)
