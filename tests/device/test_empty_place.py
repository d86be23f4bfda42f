"""Frames divided by an empty place have the same bits on a Raspberry Pi as here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.device import arm, arm_root, processors
from tests.device.available import built_or_skipped

GUEST = Path(__file__).with_name("empty_place_guest.py")
pytestmark = [pytest.mark.device, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("system", "processor"),
    [(arm_root.AARCH64, processors.CORTEX_A72), (arm_root.ARMV7, processors.CORTEX_A7)],
    ids=["aarch64", "armv7"],
)
def test_the_same_bits(
    system: arm_root.System, processor: processors.Processor, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, GUEST, tmp_path / "host.npz"], check=True, timeout=300)
    built_or_skipped(system)
    arm.run_python(system, processor, GUEST, ["/mnt/out/guest.npz"], {"mnt/out": tmp_path})
    with np.load(tmp_path / "host.npz") as host, np.load(tmp_path / "guest.npz") as guest:
        assert str(guest["machine"]) != str(host["machine"])
        for name in ("gains", "even"):
            np.testing.assert_array_equal(guest[name], host[name], f"{name} {guest['opencv']}")
