"""The Raspberry Pi example on aarch64: the device's own wheels under qemu-user."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import write_image
from edge_malaria.synthetic import DRAWN_KINDS, draw_cell
from tests.device import arm

GUEST = Path(__file__).with_name("firmware_guest.py")
PI = Path(__file__).resolve().parents[2] / "firmware_examples" / "raspberry_pi"

pytestmark = [pytest.mark.device, pytest.mark.timeout(1800)]


def _rows(table: Path) -> list[list[str]]:
    return list(csv.reader(table.read_text().splitlines()))


def test_example_gives_the_same_answers_on_a_pi_4(tmp_path: Path) -> None:
    reason = arm.why_not(arm.AARCH64)
    if reason:
        pytest.skip(reason)
    try:
        arm.build(arm.AARCH64)
    except RuntimeError as error:
        pytest.skip(f"the ARM root cannot be built here: {str(error).splitlines()[0]}")
    incoming, rng = tmp_path / "incoming", np.random.default_rng(8)
    incoming.mkdir()
    for index in range(16):
        kind = DRAWN_KINDS[index % 4]
        write_image(incoming / f"{index:02d}-{kind}.png", draw_cell(rng, kind, 110).image)
    (incoming / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    old = time.time() - 60
    for path in incoming.iterdir():
        os.utime(path, (old, old))
    here = tmp_path / "here.csv"
    script = PI / "watch_cells.py"
    subprocess.run([sys.executable, script, incoming, here, "--once"], check=True)
    binds = {"mnt/pi": PI, "mnt/cells": tmp_path}
    arguments = ["/mnt/pi/watch_cells.py", "/mnt/cells/incoming", "/mnt/cells/there.csv"]
    said = arm.run_python(arm.AARCH64, arm.CORTEX_A72, GUEST, arguments, binds)
    assert said.split()[-1] == "aarch64"
    ours, theirs = _rows(here), _rows(tmp_path / "there.csv")
    assert len(theirs) == 17
    # The int8 network's bits are the same on ARM; the message of the torn file holds its path.
    assert [row[:2] for row in theirs] == [row[:2] for row in ours]
    assert [row[2] for row in theirs if row[1] != "unreadable"] == [
        row[2] for row in ours if row[1] != "unreadable"
    ]
