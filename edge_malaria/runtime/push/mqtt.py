"""A result as a retained MQTT message under a topic of its own.

The broker keeps the latest message of a topic. Before anything is published it is asked what it
holds of this result's topic: a message with the same key got there in an earlier try, of which the
device did not hear the end. After publishing, the message has to come back from the broker: only
then it was taken (a broker without the right to write acknowledges and drops it).
"""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge_malaria.runtime.push.parcel import NotSent, Parcel
from edge_malaria.runtime.push.targets import MqttTarget
from edge_malaria.runtime.push.web import secret


def topic_of(target: MqttTarget, parcel: Parcel) -> str:
    """The topic of one slide's result."""
    return f"{target.topic.rstrip('/')}/{parcel.device}/{parcel.entry.id}"


def send(target: MqttTarget, parcel: Parcel) -> None:
    """Sends one result, unless the broker holds it already.

    Raises:
        NotSent: the broker cannot be reached, does not let this device in, or did not give the
            message back.
    """
    topic = topic_of(target, parcel)
    with _Broker(target, f"edge-malaria-{parcel.device}-{target.name}") as broker:
        broker.listen(topic)
        if broker.holds(parcel.key, target.ask_s):
            return
        broker.publish(topic, json.dumps(parcel.summary(), ensure_ascii=False))
        if not broker.holds(parcel.key, target.timeout_s):
            raise NotSent(
                f"{broker.where} did not give the message back: may this device write and read "
                f"{topic}?"
            )


class _Broker:
    """One connection; the client's identity ends a dead predecessor's."""

    def __init__(self, target: MqttTarget, identity: str) -> None:
        self._target = target
        port = target.port or (8883 if target.tls else 1883)
        self.where = f"{target.host}:{port}"
        self._port = port
        self._connected, self._listening = threading.Event(), threading.Event()
        self._refusal = ""
        self._messages: queue.Queue[bytes] = queue.Queue()
        # A lost connection ends this try; the next one asks the broker anew.
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=identity, reconnect_on_failure=False
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect_timeout = target.timeout_s
        if target.user:
            self._client.username_pw_set(target.user, secret(target.password_file))
        if target.tls:
            self._client.tls_set(ca_certs=target.ca_file or None)

    def __enter__(self) -> _Broker:
        try:
            self._client.connect(self._target.host, self._port, keepalive=30)
        except (OSError, ValueError) as error:
            raise NotSent(f"{self.where}: {error}", unreachable=True) from error
        self._client.loop_start()
        try:
            self._await(self._connected, "did not answer")
        except NotSent:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _await(self, event: threading.Event, trouble: str) -> None:
        arrived = event.wait(self._target.timeout_s)
        if self._refusal or not arrived:
            raise NotSent(f"{self.where} {self._refusal or trouble}.", unreachable=True)

    def listen(self, topic: str) -> None:
        """Asks for the topic's messages, the one that the broker keeps first."""
        self._client.subscribe(topic, qos=1)
        self._await(self._listening, "did not answer a subscription")

    def publish(self, topic: str, text: str) -> None:
        """Publishes a message that the broker keeps; returns when it has acknowledged it."""
        told = self._client.publish(topic, text.encode(), qos=self._target.qos, retain=True)
        try:
            told.wait_for_publish(self._target.timeout_s)
        except (RuntimeError, ValueError) as error:
            raise NotSent(f"{self.where}: {error}", unreachable=True) from error
        if not told.is_published():
            raise NotSent(f"{self.where} did not acknowledge the message.", unreachable=True)

    def holds(self, key: str, most_s: float) -> bool:
        """Whether a message of that key comes from the broker within so many seconds."""
        end = time.monotonic() + most_s
        while (left := end - time.monotonic()) > 0:
            try:
                data = self._messages.get(timeout=left)
            except queue.Empty:
                return False
            if _key(data) == key:
                return True
        return False

    def _on_connect(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self._refusal = f"does not let this device in ({reason})"
        self._connected.set()

    def _on_subscribe(self, _: Any, __: Any, ___: Any, reasons: Any, ____: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = "does not let this device read its own topic"
        self._listening.set()

    def _on_message(self, _: Any, __: Any, message: MQTTMessage) -> None:
        self._messages.put(bytes(message.payload))


def _key(data: bytes) -> str:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("key", "")) if isinstance(found, dict) else ""
