"""The Raspberry Pi example on aarch64: the device's own wheels under qemu-user."""

from __future__ import annotations

import csv
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import write_image
from edge_malaria.synthetic import DRAWN_KINDS, draw_cell
from tests.device import arm, arm_root, processors
from tests.device.available import built_or_skipped
from tests.wheel import building

GUEST = Path(__file__).with_name("firmware_guest.py")
PI = Path(__file__).resolve().parents[2] / "firmware_examples" / "raspberry_pi"
pytestmark = [pytest.mark.device, pytest.mark.timeout(1800)]


def _rows(table: Path) -> list[list[str]]:
    return list(csv.reader(table.read_text().splitlines()))


def _draw_incoming(folder: Path, cells: int) -> Path:
    """Drawn cells and a torn file, old enough to be taken."""
    incoming, rng = folder / "incoming", np.random.default_rng(8)
    incoming.mkdir()
    for index in range(cells):
        kind = DRAWN_KINDS[index % 4]
        write_image(incoming / f"{index:02d}-{kind}.png", draw_cell(rng, kind, 110).image)
    (incoming / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    old = time.time() - 60
    for path in incoming.iterdir():
        os.utime(path, (old, old))
    return incoming


def _here(incoming: Path, table: Path) -> list[list[str]]:
    """What the example answers on this machine."""
    script = PI / "watch_cells.py"
    subprocess.run([sys.executable, script, incoming, table, "--once"], check=True)
    return _rows(table)


def _assert_same_answers(theirs: list[list[str]], ours: list[list[str]]) -> None:
    # The int8 network's bits are the same on ARM; the message of the torn file holds its path.
    assert [row[:2] for row in theirs] == [row[:2] for row in ours]
    assert [row[2] for row in theirs if row[1] != "unreadable"] == [
        row[2] for row in ours if row[1] != "unreadable"
    ]


@pytest.fixture(scope="module")
def root() -> Path:
    """The aarch64 system, or the reason why there is none."""
    return built_or_skipped(arm_root.AARCH64)


@pytest.mark.usefixtures("root")
def test_example_gives_the_same_answers_on_a_pi_4(tmp_path: Path) -> None:
    incoming = _draw_incoming(tmp_path, 16)
    ours = _here(incoming, tmp_path / "here.csv")
    binds = {"mnt/pi": PI, "mnt/cells": tmp_path}
    arguments = ["/mnt/pi/watch_cells.py", "/mnt/cells/incoming", "/mnt/cells/there.csv"]
    said = arm.run_python(arm_root.AARCH64, processors.CORTEX_A72, GUEST, arguments, binds)
    assert said.split()[-1] == "aarch64"
    theirs = _rows(tmp_path / "there.csv")
    assert len(theirs) == 17
    _assert_same_answers(theirs, ours)


@pytest.fixture(scope="module")
def wheelhouse(root: Path) -> Path:
    """What wheelhouse.sh collects for the Pi, in a folder whose name has a space."""
    folder = root.parent / "wheel house"
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", str(PI / "wheelhouse.sh"), str(folder)]
    with building():
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    if done.returncode:
        pytest.skip(f"the wheels cannot be collected here: {done.stderr.strip().splitlines()[-1]}")
    return folder


# The accounts of a configured Debian, and a systemctl that notes what it is asked: a root file
# system that nobody booted has neither. Packages stay uncompiled, for emulation takes its time.
_PREPARE = """
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
mkdir -p /run/systemd/system /etc/systemd/system /usr/local/bin
printf '#!/bin/sh\\necho "$@" >>/mnt/out/systemctl\\n' >/usr/local/bin/systemctl
chmod +x /usr/local/bin/systemctl
export PIP_NO_COMPILE=1 PYTHONDONTWRITEBYTECODE=1
uname -m
"""
_INSTALL = """
cd /
bash /mnt/pi/install.sh --wheelhouse '/mnt/wheel house' --dry-run >/mnt/out/dry-run
test ! -e /opt/edge-malaria -a ! -e /var/lib/edge-malaria
bash /mnt/pi/install.sh --wheelhouse '/mnt/wheel house' >/mnt/out/install
id edge-malaria >/mnt/out/user
cp /etc/systemd/system/edge-malaria.service /mnt/out/
cp /mnt/cells/incoming/* /var/lib/edge-malaria/incoming/
touch -d '1 minute ago' /var/lib/edge-malaria/incoming/*
$(sed -n 's/^ExecStart=//p' /etc/systemd/system/edge-malaria.service) --once
cp /var/lib/edge-malaria/results.csv /mnt/out/
bash /mnt/pi/install.sh --uninstall >/mnt/out/uninstall
test ! -e /opt/edge-malaria -a ! -e /etc/systemd/system/edge-malaria.service
test -e /var/lib/edge-malaria/results.csv
bash /mnt/pi/install.sh --uninstall --purge
test ! -e /var/lib/edge-malaria
"""


def test_installs_runs_and_uninstalls_offline_on_a_pi_4(wheelhouse: Path, tmp_path: Path) -> None:
    incoming, out = _draw_incoming(tmp_path, 4), tmp_path / "out"
    ours = _here(incoming, tmp_path / "here.csv")
    for folder in (out, tmp_path / "system"):
        folder.mkdir()
    binds = {"mnt/pi": PI, "mnt/cells": tmp_path, "mnt/wheel house": wheelhouse, "mnt/out": out}
    try:
        said = arm.run_shell(
            arm_root.AARCH64, processors.CORTEX_A72, _PREPARE + _INSTALL, binds, tmp_path / "system"
        )
    except arm.CannotStartPrograms as error:
        pytest.skip(str(error))
    assert said.split()[0] == "aarch64"
    dry = (out / "dry-run").read_text()
    assert "would write: /etc/systemd/system/edge-malaria.service" in dry
    assert "nothing was done." in dry
    installed = (out / "install").read_text()
    assert "Installed." in installed
    assert "would" not in installed
    assert "edge-malaria" in (out / "user").read_text()
    unit = (out / "edge-malaria.service").read_text()
    [start] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert shlex.split(start)[1] == "/opt/edge-malaria/watch_cells.py"
    assert "@" not in unit
    assert (out / "systemctl").read_text().splitlines() == [
        "daemon-reload",
        "enable --now edge-malaria.service",
        *["disable --now edge-malaria.service", "daemon-reload"] * 2,
    ]
    theirs = _rows(out / "results.csv")
    assert len(theirs) == 5
    _assert_same_answers(theirs, ours)
