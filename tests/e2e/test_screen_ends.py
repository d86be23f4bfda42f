"""How ``edge-malaria screen`` ends: signals, closed terminals and streams, code pages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("shipped_bundle")
SIM = "sim:parasitemia=0.05,fields={},seed=5,width=640,height=480,cell_diameter_px=55"
COMMAND = [sys.executable, "-m", "edge_malaria.cli.app", "screen"]


def hear_signals() -> None:
    """For ``preexec_fn``: under nohup a process starts with SIGHUP ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for_lines(process: subprocess.Popen[str], out: Path, lines: int) -> None:
    """Waits until the journal of ``out`` has so many lines."""
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_processes_leaves_a_report(
    tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "r"
    with subprocess.Popen(
        [*COMMAND, SIM.format(200), "-o", str(out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=hear_signals,
    ) as process:
        wait_for_lines(process, out, 3)
        process.send_signal(number)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    report = json.loads((out / "report.json").read_text())
    assert 2 <= report["fields_seen"] < 200
    assert "--resume" in err


# What a signal raises inside numpy's ``Generator.choice`` is lost there.
_LOST = """
import os, signal, sys
from contextlib import suppress
from edge_malaria.cli.screen import end_like_ctrl_c
end_where_told = end_like_ctrl_c()
end_where_told()
with suppress(KeyboardInterrupt):
    os.kill(os.getpid(), signal.SIGTERM)
try:
    end_where_told()
except KeyboardInterrupt:
    sys.exit(7)
"""


def test_a_signal_that_compiled_code_loses_ends_the_slide_with_its_field() -> None:
    done = subprocess.run([sys.executable, "-c", _LOST], preexec_fn=hear_signals, check=False)
    assert done.returncode == 7


def test_a_terminal_that_is_closed_leaves_a_report(tmp_path: Path) -> None:
    out = tmp_path / "r"
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*COMMAND, SIM.format(200), "-o", str(out)],
        stdin=theirs, stdout=theirs, stderr=theirs, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        wait_for_lines(process, out, 3)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=120)
    assert json.loads((out / "report.json").read_text())["fields_seen"] >= 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_end_a_count(tmp_path: Path, closed: str) -> None:
    out = tmp_path / "r"
    call = " ".join([*COMMAND, SIM.format(2), "-o", str(out), closed])
    done = subprocess.run(["sh", "-c", call], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((out / "report.json").read_text())["fields_seen"] == 2
    for line in (out / "journal.jsonl").read_bytes().splitlines():
        json.loads(line)


@pytest.mark.parametrize(
    ("page", "form"), [("ascii", []), ("ascii", ["--json"]), ("cp437", []), ("cp1252", ["--json"])]
)
def test_national_code_pages_do_not_end_a_count(tmp_path: Path, page: str, form: list[str]) -> None:
    folder = tmp_path / "p\u00e9rou-\u4e2d"
    folder.mkdir()
    out = folder / "r"
    done = subprocess.run(
        [*COMMAND, SIM.format(1), "-o", str(out), *form],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": page, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if form:
        assert json.loads(done.stdout.decode(page))["fields_seen"] == 1
    else:
        assert b"report: " in done.stdout
