"""The command of the review and how it ends: one process, kill -9, Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria.errors import UsageError
from edge_malaria.runtime.review.session import ReviewSession
from tests.cli import run_cli, run_process, validate
from tests.runtime.review.judging import report


def test_one_process_at_a_time(session: ReviewSession) -> None:
    with pytest.raises(UsageError):
        ReviewSession(session.directory)


@pytest.mark.slow
def test_kill_9_loses_no_decision(slide: Path) -> None:
    for number in range(20):
        acknowledged = killed_review(slide, 0.02 * (number % 5), f"Reader {number}")
        opened = ReviewSession(slide)
        kept = {
            (r.field, r.index) for r in opened.journal.reviews() if r.reader.endswith(f" {number}")
        }
        assert opened.journal.faults == []
        opened.close()
        assert acknowledged <= kept


WORKER = """
import sys
from pathlib import Path
from edge_malaria.runtime.review.session import ReviewSession
session = ReviewSession(Path(sys.argv[1]))
while True:
    for cell in session.cells:
        session.decide(cell.field, cell.index, "parasite", sys.argv[2])
        print(cell.field, cell.index, sep="\\t", flush=True)
"""


def killed_review(slide: Path, after_s: float, reader: str) -> set[tuple[str, int]]:
    """Decides in another process, kills it; the decisions that it had said were taken."""
    command = [sys.executable, "-c", WORKER, str(slide), reader]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines(keepends=True)]
    whole = [line.decode().rstrip("\n").split("\t") for line in lines if line.endswith(b"\n")]
    assert whole
    return {(field, int(index)) for field, index in whole}


def test_the_command_serves_takes_and_gives(slide: Path, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    ran = run_cli("review", slide, "--export", path)
    assert ran.code == 0, ran.err
    path.write_text(re.sub(r",,,$", ",parasite,,", path.read_text(), flags=re.M))
    filled = path.read_text()
    ran = run_cli("review", slide, "--export", path)
    assert (ran.code, "--force" in ran.error, path.read_text()) == (2, True, filled)
    ran = run_process("review", slide, "--import", path, "--reader", "Ana", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "review")
    assert (ran.json["verdict"], ran.json["basis"]) == ("parasites-detected", "reader")
    ran = run_cli("review", tmp_path / "none")
    assert (ran.code, "no report directory" in ran.error) == (2, True)


def test_ctrl_c_ends_the_page_with_a_report(slide: Path) -> None:
    command = [sys.executable, "-m", "edge_malaria.cli.app", "review", str(slide), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        found = re.search(rb"http://(127\.0\.0\.1:\d+)/", process.stderr.readline())
        assert found is not None
        connection = http.client.HTTPConnection(found[1].decode(), timeout=20)
        connection.request("GET", "/state")
        cells = json.loads(connection.getresponse().read())["cells"]
        connection.request("GET", "/")
        token = re.search(rb'"token": "([^"]+)"', connection.getresponse().read())
        assert token is not None
        body = {"field": cells[0]["field"], "index": cells[0]["index"]}
        connection.request(
            "POST", "/decide", json.dumps({**body, "decision": "parasite", "reader": "Ana"}),
            {"X-Token": token[1].decode()},
        )  # fmt: skip
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert report(slide)["review"]["reviewed"] == 1
