"""Signed results that leave by themselves: one server's senders."""

from __future__ import annotations

from edge_malaria.runtime.push.parcel import Parcel
from edge_malaria.runtime.push.sender import Sender
from edge_malaria.runtime.push.targets import PushSettings
from edge_malaria.runtime.serve.audit import Audit
from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.store.database import transaction
from edge_malaria.runtime.store.outbox import Letter, Outbox, Waiting


class Pushing:
    """All that sends.

    Args:
        settings: None sends nothing.
        store: the database.
        desk: gives what was signed.
        audit: is told what was sent.
    """

    def __init__(
        self, settings: PushSettings | None, store: Store, desk: Desk, audit: Audit
    ) -> None:
        self._store, self._desk, self._audit = store, desk, audit
        self._device = settings.device if settings else ""
        self.targets = tuple(target.name for target in settings.targets) if settings else ()
        self._senders: list[Sender] = []
        if settings is None:
            return
        with store.use() as connection, transaction(connection):
            for target in settings.targets:
                Outbox(connection).queue_signed(target.name, target.since)
        self._senders = [
            Sender(target, settings.retry, store.use, self._parcel, self._sent)
            for target in settings.targets
        ]

    def start(self) -> None:
        """Starts to send."""
        for sender in self._senders:
            sender.start()

    def close(self) -> None:
        """Ends; what waits is sent after the next start."""
        # All at once: each may be waiting for a network that is not there.
        for sender in self._senders:
            sender.stop()
        for sender in self._senders:
            sender.close()

    def wake(self) -> None:
        """Looks at the outbox now."""
        for sender in self._senders:
            sender.wake()

    def again(self) -> None:
        """Tries everything that waits now, however long it should wait."""
        with self._store.use() as connection:
            Outbox(connection).again()
        self.wake()

    def counts(self) -> list[Waiting]:
        """What each target has; also those that had nothing yet, or are named no more."""
        with self._store.use() as connection:
            found = {count.target: count for count in Outbox(connection).counts()}
        for name in self.targets:
            found.setdefault(name, Waiting(name, 0, 0, ""))
        return [found[name] for name in sorted(found)]

    def latest(self, most: int, before: int | None) -> list[Letter]:
        """See ``Outbox.latest``."""
        with self._store.use() as connection:
            return Outbox(connection).latest(most, before)

    def of_slide(self, slide: str) -> list[Letter]:
        """See ``Outbox.of_slide``."""
        with self._store.use() as connection:
            return Outbox(connection).of_slide(slide)

    def _parcel(self, letter: Letter) -> Parcel:
        report, fhir = self._desk.signed(letter.slide)
        return Parcel(self._device, self._desk.get(letter.slide), report, fhir)

    def _sent(self, letter: Letter) -> None:
        self._audit.add("-", "-", "", "sent", letter.slide, letter.target)
