"""The server as a process: refused starts, power cuts, systemd, TLS."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the pages need the [serve] extra")

import httpx2 as httpx

from edge_malaria.errors import DataError
from edge_malaria.runtime.serve.certificate import fingerprint, own_certificate
from edge_malaria.runtime.slide.journal import Journal
from tests.cli import run_process
from tests.runtime.serve.served import MICRO, SIM, Browser, process

pytestmark = pytest.mark.slow
# Long enough that it can be cut in the middle.
LONG = SIM.replace("fields=6", "fields=16")


@pytest.fixture(autouse=True)
def _forgetful_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")


OPEN: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def client(address: str, **more: object) -> Browser:
    OPEN.append(httpx.Client(base_url=address, timeout=120, **more))  # type: ignore[arg-type]
    return Browser(OPEN[-1])


def state(browser: Browser, where: str) -> dict[str, str]:
    return dict(browser.client.get(f"{where}/live").json())


def until_read(browser: Browser, where: str, *, cells: int = 1) -> None:
    """Until so many cells were counted."""
    end = time.monotonic() + 120
    while True:
        found = state(browser, where)
        if found["state"] != "running" or int(re.sub(r"\D", "", found["cells"])) >= cells:
            return
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_address_of_others_needs_users(tmp_path: Path) -> None:
    given = (*MICRO, "--data", tmp_path / "d", "--port")
    ran = run_process("serve", "--host", "0.0.0.0", *given, "0")
    assert (ran.code, "users add" in ran.error) == (2, True)
    ran = run_process("users", "list", "--data", tmp_path / "d")
    assert (ran.code, "Traceback" in ran.err) == (0, False)


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run_process("serve", *MICRO, "--data", tmp_path / "d", "--port", str(port))
    assert ran.code == 3
    assert f"port {port}" in ran.error


@pytest.mark.long
def test_a_power_cut_while_it_reads_and_while_a_person_decides(tmp_path: Path) -> None:
    data = tmp_path / "data"
    dice = random.Random(7)
    with process(data, *MICRO, "--source", LONG, log=tmp_path / "log0") as (running, address):
        browser = client(address)
        where = browser.post("/new", sample="K-1", reader="Amina").headers["location"]
        browser.post(f"{where}/start")
        until_read(browser, where, cells=20)
        running.kill()
    folder = data / "slides" / where.rpartition("/")[2]
    kept = fields_of(folder)
    assert kept
    for cut in range(3):
        with process(data, *MICRO, "--source", LONG, log=tmp_path / f"log{cut + 1}") as (
            running,
            address,
        ):
            browser = client(address)
            assert state(browser, where) == {"state": "paused"}
            browser.post(f"{where}/start")
            time.sleep(dice.uniform(0.0, 1.5))
            running.kill()
        now = fields_of(folder)
        assert now[: len(kept)] == kept
        kept = now
    decided: list[str] = []
    with process(data, *MICRO, "--source", LONG, log=tmp_path / "log9") as (running, address):
        browser = client(address)
        browser.post(f"{where}/start")
        while state(browser, where)["state"] == "running":
            time.sleep(0.2)
        browser.post(f"{where}/who", reader="Amina")
        for number in range(4):
            page = browser.get(f"{where}/review?cell={number}").text
            key = re.search(r'name="key" value="([^"]+)"', page)
            assert key
            form = {"cell": str(number), "key": key.group(1), "decision": "no-parasite"}
            browser.post(f"{where}/decide", **form)
            decided.append(key.group(1))
        running.kill()
    whole = fields_of(folder)
    assert whole[: len(kept)] == kept
    journal = Journal(folder, resume=True)
    try:
        lines = list(journal.reviews())
        assert not journal.faults
    finally:
        journal.close()
    assert [f"{line.index}@{line.field}" for line in lines] == decided
    ran = run_process("screen", LONG, *MICRO, "-o", tmp_path / "whole")
    assert ran.code == 0, ran.err
    with process(data, *MICRO, "--source", LONG, log=tmp_path / "log10") as (_, address):
        csv = client(address).get(f"{where}/cells.csv").text
    assert csv == (tmp_path / "whole" / "cells.csv").read_text()


def fields_of(folder: Path) -> list[str]:
    journal = Journal(folder, resume=True)
    try:
        return [line.field for line in journal.fields()]
    finally:
        journal.close()


def test_systemd_hears_ready_alive_and_stopping(tmp_path: Path) -> None:
    where = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(where))
        heard.settimeout(60)
        values = {"NOTIFY_SOCKET": str(where), "WATCHDOG_USEC": "400000"}
        told: list[bytes] = []
        options = (*MICRO, "--source", SIM)
        with process(tmp_path / "d", *options, log=tmp_path / "log", environment=values):
            while told.count(b"WATCHDOG=1") < 3 or b"READY=1" not in told:
                told.append(heard.recv(100))
        heard.settimeout(2)
        while b"STOPPING=1" not in told:
            told.append(heard.recv(100))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_pauses_the_slide_with_its_report(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    with process(data, *MICRO, "--source", LONG, log=tmp_path / "log") as (running, address):
        browser = client(address)
        where = browser.post("/new", sample="S-1", reader="Amina").headers["location"]
        browser.post(f"{where}/start")
        until_read(browser, where)
        running.send_signal(number)
        assert running.wait(90) == 0
    report = json.loads((data / "slides" / where.rpartition("/")[2] / "report.json").read_text())
    assert report["cells_counted"] > 0
    with process(data, *MICRO, "--source", LONG, log=tmp_path / "log2") as (_, address):
        assert state(client(address), where) == {"state": "paused"}


def test_tls_with_a_given_certificate(tmp_path: Path) -> None:
    pem, key = own_certificate(tmp_path, "127.0.0.1")
    options = [*MICRO, "--source", SIM, "--tls-certificate", str(pem), "--tls-key", str(key)]
    with process(tmp_path / "d", *options, log=tmp_path / "log") as (_, address):
        assert address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(pem))
        browser = client(address, verify=trusted)
        answer = browser.get("/")
        assert answer.headers["set-cookie"].startswith("__Host-em=")
        where = browser.post("/new", sample="T-1", reader="Amina").headers["location"]
        assert browser.get(where).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(address.replace("https", "http"))


def test_tls_with_the_device_s_own_certificate(tmp_path: Path) -> None:
    data = tmp_path / "d"
    with process(data, *MICRO, "--source", SIM, "--tls-own", log=tmp_path / "log") as (_, address):
        pem, key = data / "tls" / "device.pem", data / "tls" / "device.key"
        assert fingerprint(pem) in (tmp_path / "log").read_text()
        assert key.stat().st_mode & 0o077 == 0
        browser = client(address, verify=ssl.create_default_context(cafile=str(pem)))
        assert browser.get("/").status_code == 200
    made = pem.read_bytes()
    assert own_certificate(data, "127.0.0.1") == (pem, key)
    assert pem.read_bytes() == made
    pem.write_text("x")
    with pytest.raises(DataError, match="no certificate"):
        own_certificate(data, "127.0.0.1")
    ran = run_process("serve", *MICRO, "--tls-own", "--tls-key", key, "--data", data)
    assert ran.code == 2


def test_the_service_file_is_sound() -> None:
    unit = Path(__file__).resolve().parents[2] / "docs" / "edge-malaria.service"
    text = unit.read_text()
    assert "Type=notify" in text and "WatchdogSec=" in text
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not on this machine")
    # The command itself is not installed where the service expects it.
    odd = [line for line in done.stderr.splitlines() if unit.name in line and "/opt/" not in line]
    assert odd == []


def test_no_process_is_left(tmp_path: Path) -> None:
    with process(tmp_path / "d", *MICRO, log=tmp_path / "log") as (running, _):
        pid = running.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
