"""Signed slides, and a sender for one target."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.serve.endpoints import (
    Endpoint,
)
from edge_malaria.runtime.push.parcel import Parcel
from edge_malaria.runtime.push.sender import Sender
from edge_malaria.runtime.push.targets import Dhis2Target, FhirTarget, MqttTarget
from edge_malaria.runtime.report.fhir import Sample, fhir_bundle
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.store.outbox import Backoff, Letter, Outbox
from edge_malaria.runtime.store.slides import SlideEntry, Worklist
from tests.runtime.report.test_fhir import REPORT

QUICK = Backoff(0.05, 0.2)
ELEMENTS = {"verdict": "d1234567890", "sample": "e1234567890", "parasitemia": "f1234567890"}


def parcel(slide: str = "s1", sha256: str = "a" * 64) -> Parcel:
    """A signed slide."""
    created = f"2026-11-27T08:00:{int(slide[1:]) % 60:02d}+00:00"
    entry = SlideEntry(
        slide, "B-7", "Amina", state="signed", created=created,
        signed_by="Sam", signed_at="2026-11-27T09:00:00+00:00", signed_sha256=sha256,
    )  # fmt: skip
    sample = Sample(entry.sample, entry.created, entry.signed_at, "Sam")
    return Parcel("ward-7", entry, REPORT, fhir_bundle(REPORT, sample))


def dhis2(endpoint: Endpoint, **more: object) -> Dhis2Target:
    uids = {"program": "a1234567890", "program_stage": "b1234567890", "org_unit": "c1234567890"}
    return Dhis2Target(
        name="district", url=endpoint.url, data_elements=ELEMENTS, **uids, **more,  # type: ignore[arg-type]
    )  # fmt: skip


class Sending:
    """A store with signed slides, and a sender for one target."""

    def __init__(
        self,
        data: Path,
        target: FhirTarget | Dhis2Target | MqttTarget,
        *slides: str,
        retry: Backoff = QUICK,
    ) -> None:
        self.store, self.told = Store(data), []
        self.target = target
        with self.store.use() as connection:
            for slide in slides:
                made = parcel(slide)
                Worklist(connection, data).put(made.entry)
                Outbox(connection).queue(slide, made.entry.signed_sha256, [target.name])
        self.sender = Sender(
            target, retry, self.store.use, lambda letter: parcel(letter.slide), self.told.append
        )

    def letters(self) -> list[Letter]:
        """All, the oldest first."""
        with self.store.use() as connection:
            return Outbox(connection).latest(100)[::-1]

    def until_sent(self, most_s: float = 30) -> None:
        end = time.monotonic() + most_s
        while any(not letter.sent for letter in self.letters()):
            assert time.monotonic() < end, self.letters()
            time.sleep(0.02)
