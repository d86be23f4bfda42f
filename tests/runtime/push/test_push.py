"""What the outbox sends, to real servers on this machine: each result once, whatever goes wrong."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

pytest.importorskip("httpx2", reason="sending needs the [push] extra")
pytest.importorskip("paho.mqtt", reason="sending needs the [push] extra")

from benchmarks.serve.endpoints import (
    Dhis2Endpoint,
    FhirEndpoint,
    Subscriber,
    broker,
    brokers,
    free_port,
)
from edge_malaria.runtime.push.parcel import SUMMARY, NotSent
from edge_malaria.runtime.push.targets import FhirTarget, MqttTarget, PushSettings
from edge_malaria.runtime.store.database import NAME
from edge_malaria.runtime.store.outbox import Backoff
from tests.runtime.push.sending import QUICK, Sending, dhis2, parcel
from tests.runtime.report.test_fhir import REPORT


def test_a_fhir_server_gets_each_result_once(fhir: FhirEndpoint, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    target = FhirTarget(name="laboratory", url=fhir.url, token_file=str(secret))
    sending = Sending(tmp_path / "data", target, "s1", "s2")
    sending.sender.start()
    sending.until_sent()
    sending.sender.close()
    for slide in ("s1", "s2"):
        resources = [entry["resource"] for entry in parcel(slide).fhir["entry"]]
        for resource in resources:
            assert fhir.stored[f"{resource['resourceType']}/{resource['id']}"] == resource
    assert set(fhir.authorizations) == {"Bearer abc"}
    assert [letter.slide for letter in sending.told] == ["s1", "s2"]
    assert all(letter.tries == 0 for letter in sending.letters())
    sending.store.close()


def test_a_dhis2_tracker_gets_each_result_once(tracker: Dhis2Endpoint, tmp_path: Path) -> None:
    sending = Sending(tmp_path / "data", dhis2(tracker), "s1", "s2")
    sending.sender.start()
    sending.until_sent()
    sending.sender.close()
    assert set(tracker.stored) == {parcel("s1").uid, parcel("s2").uid}
    assert set(tracker.writes.values()) == {1}
    event = tracker.stored[parcel("s1").uid]
    values = {value["dataElement"]: value["value"] for value in event["dataValues"]}
    assert values["e1234567890"] == "B-7"
    assert values["d1234567890"] == REPORT.verdict
    assert event["occurredAt"] == "2026-11-27"
    sending.store.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", brokers())
def test_an_mqtt_broker_gets_each_result_once(kind: str, tmp_path: Path) -> None:
    with broker(kind, tmp_path / "broker") as port:
        target = MqttTarget(name="ward", host="127.0.0.1", port=port, tls=False, ask_s=1.0)
        listening = Subscriber(port)
        sending = Sending(tmp_path / "data", target, "s1", "s2")
        sending.sender.start()
        sending.until_sent()
        sending.sender.close()
        # The power went after the broker had them and before that was noted.
        with sending.store.use() as connection:
            connection.execute("UPDATE outbox SET sent = ''")
        sending.store.close()
        again = Sending(tmp_path / "data", target)
        again.sender.start()
        again.until_sent()
        again.sender.close()
        again.store.close()
        time.sleep(0.5)
        listening.close()
    topics = [f"edge-malaria/results/ward-7/{slide}" for slide in ("s1", "s2")]
    assert listening.counts() == dict.fromkeys(topics, 1)
    found = dict(listening.heard)
    assert found[topics[0]]["key"] == parcel("s1").key
    assert set(found[topics[0]]) <= set(SUMMARY)
    assert found[topics[0]]["notice"].startswith("For research use only")


def test_there_is_a_broker_to_test_with() -> None:
    assert brokers(), "install mosquitto or amqtt: nothing was tested"


@pytest.mark.slow
def test_a_network_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    kind = brokers()[0]
    target = MqttTarget(name="ward", host="127.0.0.1", port=port, tls=False, ask_s=0.5)
    sending = Sending(tmp_path / "data", target, "s1")
    sending.sender.start()
    end = time.monotonic() + 20
    while (letter := sending.letters()[0]).tries < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert f"127.0.0.1:{port}" in letter.trouble and not letter.sent
    with broker(kind, tmp_path / "broker", port):
        sending.until_sent()
    sending.sender.close()
    assert sending.letters()[0].trouble == ""
    sending.store.close()


def test_what_a_server_took_and_did_not_say_is_not_there_twice(
    fhir: FhirEndpoint, tracker: Dhis2Endpoint, tmp_path: Path
) -> None:
    def cut() -> None:
        raise ConnectionError

    for endpoint, target in (
        (fhir, FhirTarget(name="laboratory", url=fhir.url)),
        (tracker, dhis2(tracker)),
    ):
        endpoint.taken = cut
        sending = Sending(tmp_path / target.name, target, "s1")
        sending.sender.step()
        assert "127.0.0.1" in sending.letters()[0].trouble
        first = dict(endpoint.stored)
        endpoint.taken = lambda: None
        sending.sender.start()
        sending.until_sent()
        sending.sender.close()
        assert endpoint.stored == first
        assert set(endpoint.writes.values()) == {2}
        sending.store.close()


def test_a_result_that_is_refused_holds_up_no_other(
    fhir: FhirEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = Sending(
        tmp_path / "data",
        FhirTarget(name="laboratory", url=fhir.url),
        "s1",
        "s2",
        "s3",
        # Longer than the three steps take, on a busy machine too.
        retry=Backoff(5.0, 10.0),
    )
    post = fhir.post
    bad = {entry["resource"]["id"] for entry in parcel("s1").fhir["entry"]}

    def picky(path, query, document):  # type: ignore[no-untyped-def]
        if picky.calls == 0 and {e["resource"]["id"] for e in document["entry"]} == bad:
            picky.calls += 1
            return 422, {"resourceType": "OperationOutcome", "text": "not this one"}
        return post(path, query, document)

    picky.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(fhir, "post", picky)
    for _ in range(3):
        sending.sender.step()
    first, second, third = sending.letters()
    assert (first.sent, first.tries) == ("", 1)
    assert "422" in first.trouble and "not this one" in first.trouble
    assert second.sent and third.sent
    end = time.monotonic() + 60
    while not sending.letters()[0].sent:
        assert time.monotonic() < end
        time.sleep(0.2)
        sending.sender.step()
    sending.store.close()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_server_that_is_not_well_is_left_alone_for_a_while(
    fhir: FhirEndpoint, tmp_path: Path, status: int
) -> None:
    fhir.answer_with = status
    sending = Sending(tmp_path / "data", FhirTarget(name="laboratory", url=fhir.url), "s1", "s2")
    waits = [sending.sender.step() for _ in range(2)]
    assert waits == [QUICK.wait_s(1), QUICK.wait_s(2)]
    assert str(status) in sending.letters()[0].trouble
    sending.store.close()


def test_an_answer_that_says_too_little_is_no_proof(
    fhir: FhirEndpoint, tracker: Dhis2Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_malaria.runtime.push import dhis2 as to_dhis2
    from edge_malaria.runtime.push import fhir_server

    one = {"response": {"status": "201 Created"}}
    for document in ({}, {"entry": []}, {"entry": [one]}, {"entry": [{}] * 7}, {"entry": None}):
        monkeypatch.setattr(fhir, "post", lambda *_, told=document: (200, told))
        with pytest.raises(NotSent, match="every resource"):
            fhir_server.send(FhirTarget(name="x", url=fhir.url), parcel())
    for document in (
        {}, {"status": "OK"}, {"status": "ERROR", "stats": {"created": 1}},
        {"status": "OK", "stats": {"created": 0, "ignored": 1}},
    ):  # fmt: skip
        monkeypatch.setattr(tracker, "post", lambda *_, told=document: (200, told))
        with pytest.raises(NotSent, match="did not import"):
            to_dhis2.send(dhis2(tracker), parcel())


def test_no_secret_stands_in_the_database(fhir: FhirEndpoint, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("very-secret-token\n")
    fhir.answer_with = 401
    target = FhirTarget(name="laboratory", url=fhir.url, token_file=str(secret))
    sending = Sending(tmp_path / "data", target, "s1")
    sending.sender.step()
    assert fhir.authorizations == ["Bearer very-secret-token"]
    sending.store.close()
    text = "\n".join(sqlite3.connect(tmp_path / "data" / NAME).iterdump())
    assert "does not let this device in" in text
    assert "very-secret-token" not in text


def test_targets_of_one_name_are_refused(fhir: FhirEndpoint) -> None:
    one = FhirTarget(name="laboratory", url=fhir.url)
    with pytest.raises(ValueError, match="different names"):
        PushSettings("ward-7", (one, one))
