"""The review of flagged cells: rules, durability, tables, the page's server, two readers."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_malaria.errors import DataError, UsageError
from edge_malaria.runtime.review.server import ReviewServer
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.review.table import COLUMNS, export_table, import_table
from edge_malaria.runtime.store.slides import SlideEntry
from tests.cli import run_cli, run_process, validate
from tests.runtime.review.slides import screened


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One screened slide; tests take copies."""
    return screened(tmp_path_factory.mktemp("review") / "slide")


@pytest.fixture
def slide(made: Path, tmp_path: Path) -> Path:
    """A copy of the screened slide."""
    return Path(shutil.copytree(made, tmp_path / "slide"))


@pytest.fixture
def session(slide: Path) -> Iterator[ReviewSession]:
    """An open review."""
    opened = ReviewSession(slide)
    yield opened
    opened.close()


def report(slide: Path) -> dict[str, Any]:
    """report.json."""
    document: dict[str, Any] = json.loads((slide / "report.json").read_text())
    return document


def judge(session: ReviewSession, confirmed: int, reader: str = "Ana") -> None:
    """Confirms the best cells, overturns the others."""
    for place, cell in enumerate(session.cells):
        word = "parasite" if place < confirmed else "no-parasite"
        session.decide(cell.field, cell.index, word, reader)


def signed(session: ReviewSession) -> None:
    """Signs the slide as ``serve`` does: a fact of the journal."""
    entry = SlideEntry(session.directory.name, "A-17", state="signed", signed_by="Dr. Okello")
    session.journal.append(replace(entry, signed_at="2026-03-01T10:00:00+00:00").fact())


def test_a_signed_slide_takes_no_decision_on_any_way(session: ReviewSession) -> None:
    judge(session, 2)
    slide, cell = session.directory, session.cells[0]
    table = slide.parent / "cells.csv"
    export_table(session, table)
    signed(session)
    with pytest.raises(UsageError, match="signed by Dr"):
        session.decide(cell.field, cell.index, "no-parasite", "Ben")
    session.close()
    before = (slide / "journal.jsonl").read_bytes()
    table.write_text(table.read_text().replace(",no-parasite,Ana", ",parasite,Ana"))
    for how in (("--import", table), ("--no-browser",)):
        ran = run_cli("review", slide, *how)
        assert ran.code == 2, ran.out
        assert "signed by Dr. Okello (2026-03-01T10:00:00+00:00)" in ran.error
    assert (slide / "journal.jsonl").read_bytes() == before
    again = ReviewSession(slide)
    try:
        with pytest.raises(UsageError, match="a signed slide is closed"):
            again.decide(cell.field, cell.index, "no-parasite", "Ben")
    finally:
        again.close()


def test_a_signed_slide_is_not_screened_further(tmp_path: Path) -> None:
    slide = tmp_path / "slide"
    source = "sim:parasitemia=0.1,fields=2,seed=5,width=420,height=320,cell_diameter_px=60"
    ran = run_cli("screen", source, "-o", slide, "--fields", "1")
    assert ran.code == 0, ran.err
    session = ReviewSession(slide)
    signed(session)
    session.close()
    before = (slide / "journal.jsonl").read_bytes()
    ran = run_cli("screen", source, "-o", slide, "--resume")
    assert ran.code == 2, ran.out
    assert "signed by Dr. Okello" in ran.error
    assert (slide / "journal.jsonl").read_bytes() == before


def test_a_signed_slide_s_table_can_still_be_written(session: ReviewSession) -> None:
    judge(session, 1)
    signed(session)
    slide = session.directory
    session.close()
    ran = run_cli("review", slide, "--export", slide.parent / "cells.csv")
    assert ran.code == 0, ran.err
    assert (slide.parent / "cells.csv").read_text().count(",parasite,Ana") == 1


def test_until_every_cell_is_judged_the_program_s_verdict_stands(session: ReviewSession) -> None:
    before = report(session.directory)
    assert (before["basis"], before["review"]["reviewed"]) == ("algorithm", 0)
    assert sum(cell.positive for cell in session.cells) == before["cells_positive"]
    assert before["cells_positive"] < before["cells_flagged"]
    for cell in session.cells[:-1]:
        session.decide(cell.field, cell.index, "parasite", "Ana")
    found = session.write_report()
    assert (found.verdict, found.basis) == (before["verdict"], "algorithm")
    assert found.review["flagged"] - found.review["reviewed"] == 1
    page = (session.directory / "report.html").read_text()
    assert "Look at the flagged cells that wait: 1." in page
    last = session.cells[-1]
    session.decide(last.field, last.index, "no-parasite", "Ana")
    found = session.write_report()
    assert (found.verdict, found.basis) == ("parasites-detected", "reader")
    assert found.parasitemia is not None and found.ci95 is not None
    count = session.review.count()
    assert count.confirmed_upper == before["cells_positive"]
    above = [session.review.count(upper_from=p).confirmed_upper for p in (0.0, 1.1)]
    assert above == [count.confirmed, 0]
    share = found.review["confirmed"] / found.cells_counted
    assert found.ci95[0] < share < found.ci95[1]
    assert found.parasitemia > share
    assert "Read by Ana" in (session.directory / "report.html").read_text()


@pytest.mark.parametrize(
    ("confirmed", "verdict", "cause"),
    [
        (0, "not-detected", "none-confirmed"),
        (1, "indeterminate", "one-confirmed"),
        (2, "parasites-detected", "confirmed"),
    ],
)
def test_the_reader_s_rules(
    session: ReviewSession, confirmed: int, verdict: str, cause: str
) -> None:
    judge(session, confirmed)
    found = session.write_report()
    assert (found.verdict, found.basis) == (verdict, "reader")
    assert found.details["statistics"]["cause"] == cause
    if cause == "one-confirmed":
        assert "second person" in (session.directory / "report.html").read_text()
        # A second reader who confirms the same cell settles it.
        judge(session, 1, "Ben")
        found = session.write_report()
        assert (found.verdict, found.review["readers"]) == ("parasites-detected", ["Ana", "Ben"])


def test_two_readers_who_contradict_each_other_are_both_kept_and_shown(
    session: ReviewSession,
) -> None:
    judge(session, 1, "Ana")
    judge(session, 0, "Ben")
    found = session.write_report()
    assert (found.verdict, found.details["statistics"]["cause"]) == ("indeterminate", "no-answer")
    page = (session.directory / "report.html").read_text()
    assert "readers disagree" in page
    assert "Ana: parasite, Ben: no parasite" in page
    lines = list(session.journal.reviews())
    assert len(lines) == 2 * len(session.cells)
    assert {line.reader for line in lines} == {"Ana", "Ben"}


def test_a_change_keeps_the_old_decision_and_undo_brings_it_back(session: ReviewSession) -> None:
    cell = session.cells[0]
    for word in ("parasite", "no-parasite"):
        session.decide(*cell.key, word, "Ana")  # type: ignore[arg-type]
    assert session.review.status(cell.key) == "overturned"
    session.decide(*cell.key, "withdrawn", "Ana")
    assert session.review.status(cell.key) == "confirmed"
    session.decide(*cell.key, "withdrawn", "Ana")
    assert session.review.status(cell.key) == "waiting"
    words = [line.decision for line in session.journal.reviews()]
    assert words == ["parasite", "no-parasite", "withdrawn", "withdrawn"]


def test_cells_that_cannot_be_told_leave_the_slide_open(session: ReviewSession) -> None:
    judge(session, 0)
    session.decide(*session.cells[0].key, "unsure", "Ana")
    found = session.write_report()
    assert (found.verdict, found.details["statistics"]["cause"]) == ("indeterminate", "no-answer")
    judge(session, 0, "Ben")
    assert session.write_report().verdict == "not-detected"


def test_impossible_decisions_are_refused(session: ReviewSession) -> None:
    cell = session.cells[0]
    with pytest.raises(DataError, match="not flagged"):
        session.decide("no such field", 0, "parasite", "Ana")
    with pytest.raises(DataError, match="reader"):
        session.decide(*cell.key, "parasite", "  ")
    with pytest.raises(DataError, match="decision"):
        session.decide(*cell.key, "maybe", "Ana")  # type: ignore[arg-type]
    assert list(session.journal.reviews()) == []


def test_a_table_goes_out_and_comes_back(session: ReviewSession, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    export_table(session, path)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(session.cells)
    scores = [float(row["p_parasitized"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        row["decision"] = "no-parasite"
    rows[0]["decision"], rows[0]["reader"] = "parasite", "Ben"
    write(path, rows)
    with pytest.raises(DataError, match="no reader"):
        import_table(session, path)
    assert import_table(session, path, "Ana") == len(rows)
    assert import_table(session, path, "Ana") == 0
    assert session.review.count().readers == ("Ana", "Ben")
    assert session.review.count().confirmed == 1
    export_table(session, path)
    with path.open(newline="") as handle:
        assert next(csv.DictReader(handle))["decision"] == "parasite"


def test_a_table_that_excel_saved_comes_back(session: ReviewSession, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    export_table(session, path)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row["decision"], row["reader"] = "parasite", "'=Ana"
    lines = [";".join(COLUMNS), *(";".join(row.values()) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    assert import_table(session, path) == len(rows)
    assert session.review.count().readers == ("=Ana",)
    export_table(session, path)
    assert all(line.split(",")[-2] == "'=Ana" for line in path.read_text().splitlines()[1:])
    assert import_table(session, path) == 0, "the same decisions by the same reader"


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes a table."""
    with path.open("w", newline="") as handle:
        table = csv.DictWriter(handle, COLUMNS)
        table.writeheader()
        table.writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("decision", "yes", "expected a decision"),
        ("index", "99999", "not flagged"),
        ("x0", "1", "another slide"),
        ("reader", "a\tb\x07", "reader's name"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_as_a_whole(
    session: ReviewSession, tmp_path: Path, column: str, value: str, message: str
) -> None:
    path = tmp_path / "cells.csv"
    export_table(session, path)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row["decision"], row["reader"] = "parasite", "Ana"
    rows[-1][column] = value
    write(path, rows)
    with pytest.raises(DataError, match=rf"line {len(rows) + 1}: .*{message}"):
        import_table(session, path)
    assert list(session.journal.reviews()) == []


def test_one_process_at_a_time(session: ReviewSession) -> None:
    with pytest.raises(UsageError):
        ReviewSession(session.directory)


@pytest.fixture
def server(session: ReviewSession) -> Iterator[ReviewServer]:
    """A server that runs."""
    served = ReviewServer(session, "Ana")
    served.start()
    yield served
    served.stop()


def ask(
    server: ReviewServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes]:
    """One request as the page makes it; ``headers`` replace its own."""
    connection = http.client.HTTPConnection(server.hosts[0], timeout=20)
    sent = {"X-Token": server.token, **{k.replace("_", "-"): v for k, v in headers.items()}}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def test_the_page_takes_decisions_and_writes_the_report(server: ReviewServer) -> None:
    status, page = ask(server, "GET", "/")
    assert (status, b"http://" not in page, b"https://" not in page) == (200, True, True)
    assert server.token.encode() in page
    state = json.loads(ask(server, "GET", "/state?reader=Ana")[1])
    assert len(state["cells"]) == len(server.session.cells)
    for cell in state["cells"]:
        assert ask(server, "GET", "/" + cell["view"])[1][:3] == b"\xff\xd8\xff"
        body = {"field": cell["field"], "index": cell["index"], "reader": "Ana"}
        status, data = ask(server, "POST", "/decide", {**body, "decision": "parasite"})
        assert status == 200
    assert json.loads(data)["count"]["confirmed"] == len(state["cells"])
    found = json.loads(ask(server, "POST", "/finish", {"close": True})[1])
    assert found["verdict"] == "parasites-detected"
    assert server.done.is_set()
    assert report(server.session.directory)["basis"] == "reader"
    # Another reader starts without seeing what the first one said.
    other = json.loads(ask(server, "GET", "/state?reader=Ben")[1])
    assert {cell["decision"] for cell in other["cells"]} == {""}


def test_other_pages_and_other_files_are_shut_out(server: ReviewServer) -> None:
    cell = server.session.cells[0]
    body = {"field": cell.field, "index": cell.index, "decision": "parasite", "reader": "Ana"}
    assert ask(server, "POST", "/decide", body, X_Token="wrong")[0] == 403
    assert ask(server, "POST", "/decide", body, Host="evil.example")[0] == 403
    assert ask(server, "GET", "/state", Host="evil.example")[0] == 403
    for path in ("/journal.jsonl", "/../x", "/fields/../journal.jsonl", "/fields/", "/etc/passwd"):
        assert ask(server, "GET", path)[0] == 404
    assert ask(server, "POST", "/decide", [1])[0] == 400
    assert ask(server, "POST", "/decide", {**body, "field": "x"})[0] == 409
    assert ask(server, "POST", "/decide", {**body, "reader": ""})[0] == 409
    assert list(server.session.journal.reviews()) == []


def test_many_decisions_at_once_are_all_kept(server: ReviewServer) -> None:
    cells = server.session.cells

    def reader(name: str) -> None:
        for cell in cells:
            body = {"field": cell.field, "index": cell.index, "decision": "unsure", "reader": name}
            assert ask(server, "POST", "/decide", body)[0] == 200

    threads = [threading.Thread(target=reader, args=(f"Reader {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(server.session.journal.reviews())) == 4 * len(cells)
    assert server.session.journal.faults == []


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
