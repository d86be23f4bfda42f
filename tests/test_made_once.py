"""Processes of one run share what one of them made, and never half of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_once import made_once
from tests.other_session import pytest_in
from tests.test_ci import ROOT

# Run by pytest-xdist in two processes: each of four files asks for the same folder.
_TEST = """
import os, time
from tests.made_once import made_once

def test_it(tmp_path_factory):
    def make(path):
        path.mkdir()
        time.sleep(0.5)
        (path / "by").write_text(str(os.getpid()))
    got = made_once(tmp_path_factory, "thing", make)
    print("made by", (got / "by").read_text(), "for", os.getpid())
"""


@pytest.mark.slow
def test_two_processes_get_the_same(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"test_{number}.py").write_text(_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-n", "2", "--dist", "loadfile", "-rA", "--basetemp", str(tmp_path / "t")]
    values = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    ran = pytest_in(tmp_path, *options, tmp_path, environment=values)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = {line for line in ran.stdout.splitlines() if line.startswith("made by")}
    makers, askers = ({line.split()[place] for line in lines} for place in (2, 4))
    assert len(makers) == 1 and len(askers) == 2


def test_half_of_it_is_never_taken(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        made_once(tmp_path_factory, "whole-or-not", broken)
    made = made_once(tmp_path_factory, "whole-or-not", lambda path: path.write_text("whole"))
    again = made_once(tmp_path_factory, "whole-or-not", lambda path: path.write_text("other"))
    assert made == again and made.read_text() == "whole"
