"""Rates and their intervals on 32-bit ARM, whose numpy takes no 64-bit integers for places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.device import arm, arm_root, processors

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.device, pytest.mark.timeout(3600)]
_COMMANDS = """
export LD_LIBRARY_PATH=/usr/lib/arm-linux-gnueabihf/blas:/usr/lib/arm-linux-gnueabihf/lapack
export PYTHONPATH=/mnt/em PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
cd /mnt/test
python3 -W ignore -c 'import arm_metrics, json; print(json.dumps(arm_metrics.figures()))'
"""
_FIGURES = """
import numpy as np
from edge_malaria import metrics


def figures():
    truth, called = np.array([1, 0, 1, 0, 1, 0]), np.array([1, 0, 0, 1, 1, 0])
    chance, groups = np.array([0.9, 0.1, 0.4, 0.7, 0.8, 0.2]), list("aabbcc")
    return [
        metrics.auc(truth, chance),
        metrics.expected_calibration_error(truth, chance),
        metrics.bootstrap_rates(truth, called, groups, resamples=50),
        metrics.bootstrap_auc(truth, chance, groups, resamples=50),
    ]
"""


def test_rates_and_intervals_are_those_of_64_bits(tmp_path: Path) -> None:
    reason = arm_root.why_not(arm_root.ARMV7)
    if reason:
        pytest.skip(reason)
    try:
        arm_root.build(arm_root.ARMV7)
    except RuntimeError as error:
        pytest.skip(f"the system cannot be built here: {str(error).splitlines()[0]}")
    test, work = tmp_path / "test", tmp_path / "work"
    test.mkdir()
    work.mkdir()
    (test / "arm_metrics.py").write_text(_FIGURES)
    binds = {"mnt/em/edge_malaria": ROOT / "edge_malaria", "mnt/test": test}
    try:
        said = arm.run_shell(
            arm_root.ARMV7, processors.CORTEX_A7, _COMMANDS, binds, work, timeout_s=600
        )
    except arm.CannotStartPrograms as error:
        pytest.skip(str(error))
    here: dict[str, Any] = {}
    exec(_FIGURES, here)
    there = json.loads(said.strip().splitlines()[-1])
    assert there == json.loads(json.dumps(here["figures"]()))
