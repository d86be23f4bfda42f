"""Small real servers that take results: a FHIR server, a DHIS2 tracker, and an MQTT broker's run.

They keep what they take in memory and count how often each result came. They follow the parts of
the two standards that ``serve --push`` uses, and refuse everything else.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any]]


class Endpoint:
    """One server on a free port of this machine.

    Attributes:
        stored: identity -> what was stored under it, the latest.
        writes: identity -> how often it came.
        authorizations: the header of each request.
        taken: called after something was stored and before the answer is sent.
        answer_with: a status to refuse everything with, 0 to work.
    """

    kind: ClassVar[str] = "application/json"

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.writes: dict[str, int] = {}
        self.authorizations: list[str] = []
        self.taken: Callable[[], None] = lambda: None
        self.answer_with = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Ends it; the port is free afterwards."""
        self._server.shutdown()
        self._server.server_close()

    def store(self, identity: str, document: dict[str, Any]) -> bool:
        """Stores one thing; whether it is new."""
        with self._lock:
            new = identity not in self.stored
            self.stored[identity] = document
            self.writes[identity] = self.writes.get(identity, 0) + 1
        return new

    def post(self, path: str, query: dict[str, list[str]], document: Any) -> Answer:
        """Answers one request."""
        raise NotImplementedError

    def answer(self, path: str, authorization: str, data: bytes) -> Answer:
        """Answers, unless it was told to refuse."""
        self.authorizations.append(authorization)
        if self.answer_with:
            return self.answer_with, {"refused": self.answer_with}
        parts = urlsplit(path)
        answer = self.post(parts.path, parse_qs(parts.query), json.loads(data))
        self.taken()
        return answer


class FhirEndpoint(Endpoint):
    """Takes FHIR R4 transactions of PUTs: each resource under the identity that it names."""

    kind = "application/fhir+json"

    def post(self, path: str, query: dict[str, list[str]], document: Any) -> Answer:
        """See ``Endpoint``."""
        if path not in ("", "/") or document.get("type") != "transaction":
            return 404, {"resourceType": "OperationOutcome"}
        entries = document["entry"]
        for entry in entries:
            resource, request = entry["resource"], entry["request"]
            where = f"{resource['resourceType']}/{resource['id']}"
            if request != {"method": "PUT", "url": where}:
                return 422, {"resourceType": "OperationOutcome", "text": where}
        told = []
        for entry in entries:
            new = self.store(entry["request"]["url"], entry["resource"])
            told.append({"response": {"status": "201 Created" if new else "200 OK"}})
        return 200, {"resourceType": "Bundle", "type": "transaction-response", "entry": told}

    def reports(self) -> list[str]:
        """The identities of the reports that it holds."""
        return sorted(name for name in self.stored if name.startswith("DiagnosticReport/"))


class Dhis2Endpoint(Endpoint):
    """Imports tracker events: each under its UID."""

    def post(self, path: str, query: dict[str, list[str]], document: Any) -> Answer:
        """See ``Endpoint``."""
        wanted = {"async": "false", "importStrategy": "CREATE_AND_UPDATE", "atomicMode": "ALL"}
        if path != "/api/tracker" or {k: v[0] for k, v in query.items()} != wanted:
            return 404, {"status": "ERROR"}
        stats = {"created": 0, "updated": 0, "deleted": 0, "ignored": 0}
        for event in document["events"]:
            if len(event["event"]) != 11 or not event["event"].isalnum():
                return 409, {"status": "ERROR", "stats": {**stats, "ignored": 1}}
            stats["created" if self.store(event["event"], event) else "updated"] += 1
        return 200, {"status": "OK", "stats": {**stats, "total": len(document["events"])}}


def push_settings(fhir: Endpoint, tracker: Endpoint, port: int) -> str:
    """The text of a ``serve --push`` file with all three kinds of targets on this machine."""
    return (
        'device = "ward-7"\n[retry]\nfirst_s = 0.5\nmost_s = 2\n'
        f'[[target]]\nkind = "fhir"\nname = "laboratory"\nurl = "{fhir.url}"\n'
        f'[[target]]\nkind = "dhis2"\nname = "district"\nurl = "{tracker.url}"\n'
        'program = "a1234567890"\nprogram_stage = "b1234567890"\norg_unit = "c1234567890"\n'
        '[target.data_elements]\nverdict = "d1234567890"\n'
        f'[[target]]\nkind = "mqtt"\nname = "ward"\nhost = "127.0.0.1"\nport = {port}\n'
        "tls = false\nask_s = 0.7\n"
    )


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, document = endpoint.answer(
                    self.path, self.headers.get("Authorization", ""), data
                )
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", endpoint.kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                # Whoever asked was killed meanwhile.
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def brokers() -> list[str]:
    """The MQTT brokers of this machine: mosquitto where it is installed, amqtt from Python."""
    found = ["mosquitto"] if _mosquitto() else []
    amqtt = Path(sys.executable).with_name("amqtt")
    return [*found, *(["amqtt"] if amqtt.is_file() else [])]


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def broker(kind: str, folder: Path, port: int = 0) -> Iterator[int]:
    """Runs an MQTT broker on this machine alone; yields its port.

    Args:
        kind: one of ``brokers``.
        folder: for its settings and its log.
        port: 0 takes a free one.
    """
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "mosquitto":
        settings = folder / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        command = [str(_mosquitto()), "-c", str(settings)]
    else:
        settings = folder / "amqtt.yaml"
        settings.write_text(
            "listeners:\n  default:\n    type: tcp\n"
            f"    bind: 127.0.0.1:{port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
            "    allow_anonymous: true\n"
        )
        command = [str(Path(sys.executable).with_name("amqtt")), "-c", str(settings)]
    with (folder / "broker.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_port(port, running)
            yield port
        finally:
            running.terminate()
            running.wait(30)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _await_port(port: int, running: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if running.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError("the broker did not start")


class Subscriber:
    """Hears every result that a broker gives out, and counts them by topic."""

    def __init__(self, port: int, topic: str = "edge-malaria/#") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._listening = threading.Event()
        self._topic = topic
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not self._listening.wait(20):
            raise RuntimeError("the broker took no subscription")

    def _connected(self, *_: Any) -> None:
        self._client.subscribe(self._topic, qos=2)

    def _subscribed(self, *_: Any) -> None:
        self._listening.set()

    def _message(self, _: Any, __: Any, message: Any) -> None:
        self.heard.append((message.topic, json.loads(message.payload)))

    def counts(self) -> dict[str, int]:
        """topic -> how many messages came."""
        found: dict[str, int] = {}
        for topic, _ in list(self.heard):
            found[topic] = found.get(topic, 0) + 1
        return found

    def close(self) -> None:
        """Ends it."""
        self._client.disconnect()
        self._client.loop_stop()
