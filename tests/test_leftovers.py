"""Directories that killed processes left behind are swept; those of living ones stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria import leftovers
from edge_malaria.errors import OutputExists
from edge_malaria.files import new_directory

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of directories are POSIX")
WRITER = """
import sys, time
from pathlib import Path
from edge_malaria.files import new_directory
with new_directory(Path(sys.argv[1]), force=True) as work:
    (work / "half.bin").write_bytes(b"x" * 1000)
    print("writing", flush=True)
    time.sleep(600)
"""


def _hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def _writer(target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(target)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_a_killed_writer_s_directory_is_swept_and_a_living_one_s_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    target = tmp_path / "my-bundle"
    killed, living = _writer(target), _writer(target)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        assert len(_hidden(tmp_path)) == 2
        with new_directory(target) as work:
            (work / "whole.txt").write_text("whole")
        assert (target / "whole.txt").is_file()
        [left] = _hidden(tmp_path)
        assert (left / "half.bin").is_file(), "the living writer's own"
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate(timeout=20)
    other = tmp_path / "my-bundle2"
    with new_directory(other):
        pass
    assert len(_hidden(tmp_path)) == 1, "another directory's leftovers are not its business"
    with new_directory(target, force=True):
        pass
    assert not _hidden(tmp_path)


def test_what_was_moved_aside_when_the_power_failed_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = tmp_path / ".slide.abcd1234.old"
    aside.mkdir()
    (aside / "report.html").write_text("counted for hours")
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    time.sleep(0.05)
    with pytest.raises(OutputExists), new_directory(tmp_path / "slide"):
        pass
    assert (tmp_path / "slide" / "report.html").read_text() == "counted for hours"


def test_a_user_s_hidden_folders_and_links_are_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    kept = [".slide", ".slide.backup", ".slide.ABCD1234", ".slide.abcd12345"]
    for name in kept:
        (tmp_path / name).mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".slide.abcd1234").symlink_to(elsewhere)
    with new_directory(tmp_path / "slide"):
        pass
    assert {path.name for path in _hidden(tmp_path)} == {*kept, ".slide.abcd1234"}
    assert elsewhere.is_dir()
