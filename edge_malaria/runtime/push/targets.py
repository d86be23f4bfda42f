"""Where results may be sent: the settings of each kind of target, validated."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from edge_malaria.records import expect
from edge_malaria.runtime.push.parcel import SUMMARY
from edge_malaria.runtime.store.outbox import Backoff

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
# DHIS2 Developer guide, "Identifiers": a letter, then ten letters or digits.
_UID = re.compile(r"[A-Za-z][A-Za-z0-9]{10}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})?")


@dataclass(frozen=True)
class Target:
    """What every target has.

    Attributes:
        name: names it on pages and in the outbox: 1 to 40 of A-Z, a-z, 0-9, - and _.
        since: ISO date; slides that were signed before are not sent. "" sends all.
        user, password_file, token_file: how the device proves who it is; secrets stand in files
            of their own.
        ca_file: PEM file of the authority behind the target's certificate; "" takes the usual.
        timeout_s: the longest that one step of a try may take.
    """

    kind: ClassVar[str] = ""
    name: str = ""
    since: str = ""
    user: str = ""
    password_file: str = ""
    token_file: str = ""
    ca_file: str = ""
    timeout_s: float = 20.0

    def __post_init__(self) -> None:
        expect(bool(_NAME.fullmatch(self.name)), "name of 1 to 40 of A-Z a-z 0-9 - _", self.name)
        expect(bool(_DAY.fullmatch(self.since)), "since like 2026-11-27", self.since)
        expect(0 < self.timeout_s <= 300, "timeout_s above 0, up to 300", self.timeout_s)
        expect(
            bool(self.user) == bool(self.password_file),
            "user and password_file together",
            self.user or self.password_file,
        )
        expect(not (self.user and self.token_file), "token_file or user, not both", self.user)
        for name in ("password_file", "token_file", "ca_file"):
            path = getattr(self, name)
            expect(not path or Path(path).is_file(), f"{name} to be a file", path)


@dataclass(frozen=True)
class _Web(Target):
    """A target over HTTP.

    Attributes:
        url: its base address, https; http only to this machine, or where ``plain_http`` allows it.
    """

    url: str = ""
    plain_http: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = urlsplit(self.url)
        expect(parts.scheme in ("https", "http") and bool(parts.hostname), "url of https", self.url)
        expect(not (parts.query or parts.fragment), "url without ? and #", self.url)
        open_way = parts.scheme == "http" and not _here(parts.hostname or "")
        expect(not open_way or self.plain_http, "url of https, or plain_http = true", self.url)


@dataclass(frozen=True)
class FhirTarget(_Web):
    """A FHIR R4 server; ``url`` is its base, below which ``/DiagnosticReport`` lies."""

    kind: ClassVar[str] = "fhir"


@dataclass(frozen=True)
class Dhis2Target(_Web):
    """A DHIS2 server; results are events of a program without registration.

    Attributes:
        program, program_stage, org_unit: their UIDs.
        data_elements: what is sent (a key of ``parcel.SUMMARY``) -> UID of its data element.
    """

    kind: ClassVar[str] = "dhis2"
    program: str = ""
    program_stage: str = ""
    org_unit: str = ""
    data_elements: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("program", "program_stage", "org_unit"):
            value = getattr(self, name)
            expect(bool(_UID.fullmatch(value)), f"{name} of a letter and ten of A-Z 0-9", value)
        expect(bool(self.data_elements), "data_elements with one or more", self.data_elements)
        for name, uid in self.data_elements.items():
            expect(name in SUMMARY, f"data_elements of {', '.join(SUMMARY)}", name)
            sound = isinstance(uid, str) and bool(_UID.fullmatch(uid))
            expect(sound, f"{name} of a letter and ten of A-Z 0-9", uid)


@dataclass(frozen=True)
class MqttTarget(Target):
    """An MQTT broker; a result is a retained message below ``topic``.

    Attributes:
        host, port: of the broker; port 0 takes 8883, or 1883 without TLS.
        tls: encrypted; false only to this machine, or where ``plain_mqtt`` allows it.
        topic: the message's topic is TOPIC/DEVICE/SLIDE.
        qos: 1 or 2, MQTT's quality of service.
        ask_s: so long the broker may take to say what it holds of a topic.
    """

    kind: ClassVar[str] = "mqtt"
    host: str = ""
    port: int = 0
    tls: bool = True
    plain_mqtt: bool = False
    topic: str = "edge-malaria/results"
    qos: int = 2
    ask_s: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(bool(self.host.strip()), "host with a name or an address", self.host)
        expect(0 <= self.port <= 65535, "port from 0 to 65535", self.port)
        expect(
            self.tls or self.plain_mqtt or _here(self.host), "tls, or plain_mqtt = true", self.tls
        )
        sound = bool(self.topic) and not set(self.topic) & set("+#\0") and self.topic.isprintable()
        expect(sound and len(self.topic) <= 200, "topic of up to 200 without + and #", self.topic)
        expect(self.qos in (1, 2), "qos 1 or 2", self.qos)
        expect(0 < self.ask_s <= 60, "ask_s above 0, up to 60", self.ask_s)
        expect(not self.token_file, "user and password_file, no token_file", self.token_file)


@dataclass(frozen=True)
class PushSettings:
    """All that is sent by itself.

    Attributes:
        device: names this device in what it sends.
        targets: where to; names differ.
        retry: how long a failed try waits.
    """

    device: str = "edge-malaria"
    targets: tuple[FhirTarget | Dhis2Target | MqttTarget, ...] = ()
    retry: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        expect(bool(_NAME.fullmatch(self.device)), "device of A-Z a-z 0-9 - _", self.device)
        names = [target.name for target in self.targets]
        expect(len(set(names)) == len(names), "targets of different names", names)


def _here(host: str) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
