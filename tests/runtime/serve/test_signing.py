"""Who may sign a slide, when, and what readers see of each other."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import UsageError
from edge_malaria.runtime.push.targets import MqttTarget, PushSettings
from edge_malaria.runtime.serve.audit import Audit
from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.pushing import Pushing
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.store.slides import Worklist
from tests.runtime.serve.conftest import Serving
from tests.runtime.serve.read_slides import first_cell, judge
from tests.runtime.serve.served import SIM

pytestmark = pytest.mark.slow


def test_a_slide_is_signed_once_everything_was_looked_at(serving: Serving) -> None:
    served = serving(read=True)
    desk = served.clinic.desk
    slide = served.slide()
    with pytest.raises(Refused, match=r"wait for a person: [1-9]"):
        desk.sign(slide, "Sam")
    judge(served, slide, "Amina")
    assert desk.judged(slide).verdict == "parasites-detected"
    signed = desk.sign(slide, "Sam")
    assert (signed.state, signed.signed_by, signed.basis) == ("signed", "Sam", "reader")
    cell = first_cell(desk, slide)
    for again in (
        lambda: desk.sign(slide, "Sam"),
        lambda: desk.start(slide),
        lambda: desk.decide(slide, cell[0], cell[1], "unsure", "Amina"),
    ):
        with pytest.raises(UsageError):
            again()
    assert desk.get(slide) == signed


@pytest.mark.slow
def test_a_signature_that_only_the_journal_knew_stands_after_a_power_cut(
    serving: Serving, tmp_path: Path, bundle: Bundle
) -> None:
    served = serving(read=True)
    desk, slide = served.clinic.desk, served.slide()
    judge(served, slide, "Amina")
    before = desk.get(slide)
    signed = desk.sign(slide, "Sam")
    # The power went behind the journal's line and before the database's.
    with served.clinic.store.use() as connection:
        Worklist(connection, tmp_path / "data").put(before)
    desk.close()
    store = Store(tmp_path / "data")
    push = PushSettings(targets=(MqttTarget(name="ward", host="127.0.0.1", tls=False),))
    settings = ServeSettings(tmp_path / "data", sources=(SIM,), push=push)
    again = Desk(store, bundle, settings)
    assert again.get(slide) == replace(signed, sample=before.sample, reader=before.reader)
    pushing = Pushing(push, store, again, Audit(store))
    assert [(c.target, c.waiting) for c in pushing.counts()] == [("ward", 1)]
    again.close()
    store.close()


def test_two_readers_do_not_see_each_other_s_decisions(serving: Serving) -> None:
    served = serving(users=True, read=True)
    slide = served.slide("B-1", "Rita")
    rita, sam = served.browser("Rita"), served.browser("Sam")
    path = f"/slides/{slide}/review"
    first = rita.get(f"{path}?cell=0").text
    key = re.search(r'name="key" value="([^"]+)"', first)
    assert key is not None
    decide = {"cell": "0", "key": key.group(1), "decision": "parasite"}
    onward = rita.post(f"/slides/{slide}/decide", **decide)
    assert onward.headers["location"] == f"{path}?cell=1"
    assert 'aria-pressed="true"' in rita.get(f"{path}?cell=0").text
    assert 'aria-pressed="true"' not in sam.get(f"{path}?cell=0").text
    sam.post(f"/slides/{slide}/decide", **{**decide, "decision": "no-parasite"})
    with served.clinic.desk.reading(slide) as opened:
        cell = opened.session.cells[0]
        assert opened.session.review.status(cell.key) == "conflict"
    rita.post(f"/slides/{slide}/decide", **{**decide, "decision": "withdrawn"})
    assert 'aria-pressed="true"' not in rita.get(f"{path}?cell=0").text
    for wrong in ({"key": "0@elsewhere"}, {"cell": "999"}, {"decision": "maybe"}, {"cell": "-1"}):
        rita.post(f"/slides/{slide}/decide", 409, **{**decide, **wrong})


def test_a_signature_asks_for_the_password_and_the_role(serving: Serving) -> None:
    served = serving(users=True, read=True)
    slide = served.slide("B-2", "Rita")
    judge(served, slide, "Rita")
    rita, sam = served.browser("Rita"), served.browser("Sam")
    path = f"/slides/{slide}/sign"
    rita.post(path, 403, agree="yes", password="reader-password")
    sam.post(path, 409, agree="yes", password="wrong-password")
    sam.post(path, 409, password="supervisor-password")
    assert served.clinic.desk.get(slide).state == "finished"
    sam.post(path, agree="yes", password="supervisor-password")
    entry = served.clinic.desk.get(slide)
    assert (entry.state, entry.signed_by) == ("signed", "Sam")
    line = served.clinic.audit.latest(1)[0]
    assert (line.action, line.who, line.slide) == ("signed", "Sam", slide)
