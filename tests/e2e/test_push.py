"""The server that sends by itself, killed between a target's taking a result and noting it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the pages need the [serve] extra")
pytest.importorskip("paho.mqtt", reason="sending needs the [push] extra")

import httpx2 as httpx

from benchmarks.serve.endpoints import (
    Dhis2Endpoint,
    Endpoint,
    FhirEndpoint,
    Subscriber,
    broker,
    brokers,
    push_settings,
)
from tests.runtime.serve.served import MICRO, SIM, Browser, process

pytestmark = pytest.mark.slow
FEW = SIM.replace("fields=6", "fields=2")


def settings(folder: Path, fhir: Endpoint, tracker: Endpoint, port: int) -> Path:
    path = folder / "push.toml"
    path.write_text(push_settings(fhir, tracker, port))
    return path


def until(true: Callable[[], bool], most_s: float = 60) -> None:
    end = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def signed_slide(browser: Browser) -> str:
    """Reads a slide, judges its flagged cells and signs it."""
    where = browser.post("/new", sample="P-1", reader="Amina").headers["location"]
    browser.post(f"{where}/start")
    until(lambda: browser.client.get(f"{where}/live").json()["state"] == "finished")
    browser.post(f"{where}/who", reader="Amina")
    address = f"{where}/review"
    while True:
        page = browser.client.get(address, follow_redirects=True).text
        key = re.search(r'name="key" value="([^"]+)"', page)
        number = re.search(r'name="cell" value="(\d+)"', page)
        if key is None or number is None:
            break
        form = {"cell": number.group(1), "key": key.group(1), "decision": "no-parasite"}
        address = browser.post(f"{where}/decide", **form).headers["location"]
    browser.post(f"{where}/sign", agree="yes", reader="Sam")
    return where


def waiting(browser: Browser) -> dict[str, float]:
    text = browser.client.get("/metrics").text
    found = re.findall(r'edge_malaria_outbox_waiting\{target="(\w+)"\} (\S+)', text)
    return {name: float(value) for name, value in found}


def test_killed_between_sending_and_noting_each_has_it_once(tmp_path: Path) -> None:
    fhir, tracker = FhirEndpoint(), Dhis2Endpoint()
    data, killed = tmp_path / "data", []
    with broker(brokers()[0], tmp_path / "broker") as port:
        push = settings(tmp_path, fhir, tracker, port)
        listening = Subscriber(port)
        words = (*MICRO, "--source", FEW, "--push", str(push))
        with process(data, *words, log=tmp_path / "log0") as (running, address):

            def kill() -> None:
                killed.append(running.pid)
                running.send_signal(signal.SIGKILL)
                running.wait()

            with httpx.Client(base_url=address, timeout=120) as client:
                browser = Browser(client)
                # Nothing can be reached yet.
                fhir.answer_with = tracker.answer_with = 503
                where = signed_slide(browser)
                until(lambda: len(fhir.authorizations) > 1 and len(tracker.authorizations) > 1)
                until(lambda: waiting(browser)["ward"] == 0)
                assert "503" in browser.get("/outbox").text
                fhir.taken = kill
                fhir.answer_with = 0
                until(lambda: bool(killed))
        fhir.taken = lambda: None
        with process(data, *words, log=tmp_path / "log1") as (running, address):

            def kill_again() -> None:
                killed.append(running.pid)
                running.send_signal(signal.SIGKILL)
                running.wait()

            tracker.taken = kill_again
            tracker.answer_with = 0
            until(lambda: len(killed) == 2)
        tracker.taken = lambda: None
        with (
            process(data, *words, log=tmp_path / "log2") as (_, address),
            httpx.Client(base_url=address, timeout=120) as client,
        ):
            browser = Browser(client)
            until(lambda: set(waiting(browser).values()) == {0.0})
            page = browser.get(where).text
            assert all(f"Sent to {name}" in page for name in ("laboratory", "district", "ward"))
            audit = browser.get("/audit").text
            assert audit.count("sent by the device") == 3
            signed = json.loads(browser.get(f"{where}/report.fhir.json").text)
        listening.close()
    assert len(fhir.reports()) == 1
    for entry in signed["entry"]:
        resource = entry["resource"]
        assert fhir.stored[f"{resource['resourceType']}/{resource['id']}"] == resource
    assert len(fhir.stored) == len(signed["entry"])
    assert len(tracker.stored) == 1
    # The servers were asked again and know once.
    assert min(fhir.writes.values()) >= 2 and min(tracker.writes.values()) >= 2
    assert set(listening.counts().values()) == {1}
    fhir.close()
    tracker.close()


def test_settings_with_a_fault_start_nothing(tmp_path: Path) -> None:
    path = tmp_path / "push.toml"
    path.write_text('[[target]]\nkind = "mqtt"\nname = "ward"\nhost = "x"\nqos = 3\n')
    data = tmp_path / "data"
    with (
        pytest.raises(AssertionError, match=r"push\.toml:5: \[\[target\]\] 1 qos"),
        process(data, "--push", str(path), log=tmp_path / "log"),
    ):
        raise subprocess.SubprocessError("it started")
    assert not data.exists()
