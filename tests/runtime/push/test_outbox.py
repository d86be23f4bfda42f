"""The outbox: each result is queued once, and waits as long as it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("httpx2", reason="sending needs the [push] extra")
pytest.importorskip("paho.mqtt", reason="sending needs the [push] extra")

from edge_malaria.runtime.push.parcel import SUMMARY
from edge_malaria.runtime.store.database import open_database
from edge_malaria.runtime.store.outbox import Backoff, Outbox
from edge_malaria.runtime.store.slides import Worklist
from tests.runtime.push.sending import QUICK, parcel


def test_keys_are_the_same_for_every_try_and_no_two_results_share_one() -> None:
    assert parcel("s1").key == parcel("s1").key
    many = [parcel(f"s{n}") for n in range(200)] + [parcel("s1", "b" * 64)]
    assert len({one.key for one in many}) == len({one.uid for one in many}) == 201
    assert all(one.uid[0].isalpha() and one.uid.isalnum() for one in many)
    assert tuple(parcel().summary()) == tuple(n for n in SUMMARY if n in parcel().summary())


def test_a_slide_is_queued_once_and_a_lost_database_queues_it_again(tmp_path: Path) -> None:
    connection = open_database(tmp_path)
    outbox = Outbox(connection)
    for _ in range(3):
        outbox.queue("s1", "a" * 64, ["laboratory", "ward"])
    assert [(c.target, c.waiting) for c in outbox.counts()] == [("laboratory", 1), ("ward", 1)]
    for number, day in enumerate(("2026-10-31", "2026-11-02")):
        made = replace(parcel(f"t{number}").entry, signed_at=f"{day}T10:00:00+00:00")
        Worklist(connection, tmp_path).put(made)
    outbox.queue_signed("ward", "2026-11-01")
    assert [letter.slide for letter in outbox.latest(9)] == ["t1", "s1", "s1"]
    connection.close()


def test_waiting_survives_a_clock_that_is_set_back(tmp_path: Path) -> None:
    connection = open_database(tmp_path)
    now = [2_000_000_000.0]
    outbox = Outbox(connection, lambda: now[0])
    outbox.queue("s1", "a" * 64, ["ward"])
    letter = outbox.due("ward", QUICK)
    assert letter is not None
    outbox.mark_failed(letter, "no network", QUICK.wait_s(1))
    assert outbox.due("ward", QUICK) is None
    # The clock's battery was empty: thirty years back.
    now[0] -= 1_000_000_000
    assert outbox.due("ward", QUICK) is not None
    connection.close()


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(15, 3600)
    assert [backoff.wait_s(n) for n in (1, 2, 3, 9, 10, 5000)] == [15, 30, 60, 3600, 3600, 3600]
    for first, most in ((0, 1), (2, 1), (float("nan"), 1), (1, float("nan")), (1, 1e9)):
        with pytest.raises(ValueError, match="expected"):
            Backoff(first, most)
