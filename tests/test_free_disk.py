"""What needs gigabytes asks for them first: one line in place of a full disk after half an hour."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_ci import ROOT, recipe

SCRIPT = ROOT / "tools" / "free_disk.py"


def _asked(gigabytes: str, **values: str) -> subprocess.CompletedProcess[str]:
    # Isolated: no package of this environment is there, as before anything is installed.
    command = [sys.executable, "-I", "-S", str(SCRIPT), "make something", gigabytes]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=values or None)


def test_enough_says_nothing() -> None:
    ran = _asked("0.000001")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_too_little_is_one_line_with_what_to_do() -> None:
    ran = _asked("1e9")
    assert ran.returncode == 5 and ran.stdout == ""
    [line] = ran.stderr.splitlines()
    assert line.startswith("error: make something needs 1e+09 GB free") and "TMPDIR" in line
    assert str(ROOT) in line


def test_the_disk_of_temporary_files_is_looked_at_too() -> None:
    in_memory = [p for p in (Path("/dev/shm"), Path("/dev")) if os.access(p, os.W_OK)]
    if not in_memory:
        pytest.skip("no file system in memory that may be written here")
    small = min(in_memory, key=lambda path: shutil.disk_usage(path).total)
    above = shutil.disk_usage(small).total / 1e9 + 1
    if not shutil.disk_usage(ROOT).free / 1e9 > above + 1:
        pytest.skip("the checkout's disk has no more free than the memory's file system holds")
    assert _asked(f"{above}").returncode == 0
    ran = _asked(f"{above}", TMPDIR=str(small))
    assert ran.returncode == 5 and str(small) in ran.stderr


def test_ci_and_the_fresh_installs_ask_before_anything_else() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    first = next(n for n, line in enumerate(script) if line.startswith("make "))
    assert any("tools/free_disk.py .ci/run" in line for line in script[:first])
    assert "-m tools.free_disk" in recipe("install-check").splitlines()[0]
