"""Sends what waits in the outbox, one thread a target, until the target has it.

A letter is sent and then marked as sent. Where the device dies in between, it is sent again, and
the target knows it by its key (``fhir_server``, ``dhis2``, ``mqtt``): it has it once.
"""

from __future__ import annotations

import importlib
import logging
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from edge_malaria.errors import EdgeMalariaError
from edge_malaria.runtime.push.parcel import NotSent, Parcel
from edge_malaria.runtime.push.targets import Dhis2Target, FhirTarget, MqttTarget
from edge_malaria.runtime.store.database import transaction
from edge_malaria.runtime.store.outbox import Backoff, Letter, Outbox

LOG = logging.getLogger("edge_malaria.push")
_MODULES = {"fhir": "fhir_server", "dhis2": "dhis2", "mqtt": "mqtt"}
# The clock may be set forward: what waits is looked at so often at least.
_LOOK_S = 30.0


class Sender:
    """Sends to one target.

    Args:
        target: where to.
        retry: how long a failed letter waits.
        use: lends the database's connection to this thread alone.
        parcel: what is sent for a letter.
        sent: told of each letter within the transaction that marks it.
    """

    def __init__(
        self,
        target: FhirTarget | Dhis2Target | MqttTarget,
        retry: Backoff,
        use: Callable[[], AbstractContextManager[sqlite3.Connection]],
        parcel: Callable[[Letter], Parcel],
        sent: Callable[[Letter], None],
    ) -> None:
        self._target, self._retry, self._use = target, retry, use
        self._parcel, self._sent = parcel, sent
        # The clients take some 20 MB: only where a target asks for one.
        module = importlib.import_module(f"{__package__}.{_MODULES[target.kind]}")
        self._send: Callable[[object, Parcel], None] = module.send
        self._over, self._wake = threading.Event(), threading.Event()
        # Failures to reach the target, one after the other.
        self._unreached = 0
        self._thread = threading.Thread(target=self._run, name=f"push {target.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Looks at the outbox now, and tries a target that could not be reached."""
        self._unreached = 0
        self._wake.set()

    def stop(self) -> None:
        """Asks it to end behind the try that is on its way."""
        self._over.set()
        self._wake.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Ends; a try that is on its way may take longer, and is then not waited for."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                wait_s = self.step()
            except EdgeMalariaError as error:
                LOG.warning("push %s: %s", self._target.name, error)
                wait_s = _LOOK_S
            if wait_s > 0:
                self._wake.wait(wait_s)
            self._wake.clear()

    def step(self) -> float:
        """Tries the letter that is due.

        Returns:
            So long nothing needs to be done, seconds; 0 where there may be more.

        Raises:
            StorageError, DataError: the database cannot be read or written.
        """
        with self._use() as connection:
            letter = Outbox(connection).due(self._target.name, self._retry)
        if letter is None:
            return min(_LOOK_S, self._retry.first_s)
        try:
            self._send(self._target, self._parcel(letter))
        except NotSent as error:
            return self._failed(letter, str(error), unreachable=error.unreachable)
        except EdgeMalariaError as error:
            # What was signed cannot be read: others go on.
            return self._failed(letter, str(error), unreachable=False)
        except Exception as error:
            LOG.exception("push %s: slide %s", self._target.name, letter.slide)
            return self._failed(letter, f"{type(error).__name__}: {error}", unreachable=False)
        self._unreached = 0
        with self._use() as connection, transaction(connection):
            Outbox(connection).mark_sent(letter)
            self._sent(letter)
        LOG.info("push %s: slide %s sent", self._target.name, letter.slide)
        return 0.0

    def _failed(self, letter: Letter, trouble: str, *, unreachable: bool) -> float:
        # Devices that lost the same network shall not all come back in the same second.
        wait_s = self._retry.wait_s(letter.tries + 1) * random.uniform(0.8, 1.2)
        with self._use() as connection:
            Outbox(connection).mark_failed(letter, trouble, wait_s)
        LOG.info("push %s: slide %s waits: %s", self._target.name, letter.slide, trouble)
        if not unreachable:
            return 0.0
        self._unreached += 1
        return self._retry.wait_s(self._unreached)
