"""Slides on the desk: read, paused, gone on with, judged, signed; the journal stays the truth."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.bundle.format import Bundle
from edge_malaria.errors import UsageError
from edge_malaria.runtime.push.targets import MqttTarget, PushSettings
from edge_malaria.runtime.serve.audit import Audit
from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.pushing import Pushing
from edge_malaria.runtime.serve.reading import OpenSlides
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.steered import SteeredSource, UploadFolder
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.sources.cameras import CameraSource
from edge_malaria.runtime.sources.simulated import SimulatedSource
from edge_malaria.runtime.store.database import NAME
from edge_malaria.runtime.store.slides import Worklist, entry_from_journal
from tests.cli import run_cli
from tests.runtime.serve.conftest import Served, Serving
from tests.runtime.serve.served import SIM

pytestmark = pytest.mark.slow


def until(desk: Desk, slide: str, state: str, most_s: float = 120) -> None:
    end = time.monotonic() + most_s
    while desk.running_of(slide) is not None or desk.get(slide).state != state:
        assert time.monotonic() < end, (desk.get(slide), desk.trouble(slide))
        time.sleep(0.05)


def read(served: Served, sample: str = "A-1", reader: str = "Amina", **more: str) -> str:
    """A slide that was read to its end."""
    desk = served.clinic.desk
    slide = desk.make(sample, reader, **more).id  # type: ignore[arg-type]
    desk.start(slide)
    until(desk, slide, "finished")
    return slide


def judge(served: Served, slide: str, reader: str, *, parasites: int = 2) -> int:
    """Decides on every flagged cell: the first ones hold a parasite."""
    desk = served.clinic.desk
    with desk.reading(slide) as opened:
        cells = list(opened.session.cells)
    for number, cell in enumerate(cells):
        word = "parasite" if number < parasites else "no-parasite"
        desk.decide(slide, cell.field, cell.index, word, reader)  # type: ignore[arg-type]
    return len(cells)


@pytest.mark.slow
def test_a_slide_ends_as_the_command_s_does(serving: Serving, tmp_path: Path) -> None:
    served = serving()
    slide = read(served)
    assert run_cli("screen", SIM, "-o", tmp_path / "slide").code == 0
    folder = served.clinic.desk.directory(slide)
    for name in ("cells.csv",):
        assert (folder / name).read_bytes() == (tmp_path / "slide" / name).read_bytes()
    ours, theirs = (
        json.loads((where / "report.json").read_text()) for where in (folder, tmp_path / "slide")
    )
    for report in (ours, theirs):
        del report["created"], report["elapsed_s"]
    assert ours == theirs
    entry = served.clinic.desk.get(slide)
    assert (entry.verdict, entry.cells_counted) == (ours["verdict"], ours["cells_counted"])


@pytest.mark.slow
def test_a_paused_slide_goes_on_as_if_never_paused(serving: Serving, tmp_path: Path) -> None:
    served = serving()
    desk = served.clinic.desk
    slide = desk.make("A-2", "Amina").id
    desk.start(slide)
    running = desk.running_of(slide)
    assert running is not None
    while running.seen().fields < 2:
        time.sleep(0.01)
    with pytest.raises(Refused, match="Another slide"):
        desk.start(desk.make("A-3", "Amina").id)
    with pytest.raises(Refused, match="being read"), desk.reading(slide):
        pass
    desk.stop(slide, "paused")
    assert desk.get(slide).state == "paused"
    assert 2 <= desk.judged(slide).fields_seen < 6
    desk.start(slide)
    until(desk, slide, "finished")
    assert run_cli("screen", SIM, "-o", tmp_path / "whole").code == 0
    whole = (tmp_path / "whole" / "cells.csv").read_bytes()
    assert (desk.directory(slide) / "cells.csv").read_bytes() == whole


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
    cell = _first(desk, slide)
    for again in (
        lambda: desk.sign(slide, "Sam"),
        lambda: desk.start(slide),
        lambda: desk.decide(slide, cell[0], cell[1], "unsure", "Amina"),
    ):
        with pytest.raises(UsageError):
            again()
    assert desk.get(slide) == signed


def _first(desk: Desk, slide: str) -> tuple[str, int]:
    with desk.reading(slide) as opened:
        return opened.session.cells[0].key


def test_the_worklist_is_learned_again_from_the_journals(serving: Serving, tmp_path: Path) -> None:
    served = serving()
    desk = served.clinic.desk
    slide = read(served, "A/4 \u09ac", rbc_per_ul=4e6)  # type: ignore[arg-type]
    judge(served, slide, "Amina")
    desk.sign(slide, "Sam")
    before = desk.get(slide)
    desk.close()
    served.clinic.store.close()
    for path in (tmp_path / "data").glob(f"{NAME}*"):
        path.unlink()
    again = serving().clinic.desk
    learned = again.get(slide)
    same = (
        "sample",
        "reader",
        "state",
        "signed_by",
        "signed_at",
        "source",
        "rbc_per_ul",
        "flagged",
    )
    assert {name: getattr(learned, name) for name in same} == {
        name: getattr(before, name) for name in same
    }
    assert entry_from_journal(again.directory(slide)).state == "signed"


def test_what_ran_when_the_power_went_is_paused(serving: Serving, tmp_path: Path) -> None:
    served = serving()
    slide = served.clinic.desk.make("A-5", "Amina").id
    with served.clinic.store.use() as connection:
        connection.execute("UPDATE slides SET state = 'running'")
    again = serving()
    assert again.clinic.desk.get(slide).state == "paused"
    page = again.browser().get(f"/slides/{slide}")
    assert "Go on" in page.text


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


def test_pictures_from_a_phone(serving: Serving, tmp_path: Path) -> None:
    served = serving()
    browser, desk = served.browser(), served.clinic.desk
    answer = browser.post("/new", sample="P-1", reader="Amina", source="upload")
    path = answer.headers["location"]
    slide = path.rpartition("/")[2]
    fields = [item.image for item in SimulatedSource(SIM).fields()]  # type: ignore[union-attr]
    token = browser.token()

    def send(*data: bytes) -> int:
        files = [("pictures", ("IMG.jpg", one, "image/jpeg")) for one in data]
        sent = browser.client.post(f"{path}/upload", data={"csrf": token}, files=files)
        return int(sent.status_code)

    pictures = [cv2.imencode(".png", image[:, :, ::-1])[1].tobytes() for image in fields]
    assert send(b"#!/bin/sh\nrm -rf /\n") == 409
    assert send(*pictures[:2]) == 303
    browser.post(f"{path}/start")
    assert send(*pictures[2:4]) == 303
    running = desk.running_of(slide)
    assert running is not None
    while running.seen().fields < 4:
        time.sleep(0.02)
    assert not running.stuck
    browser.post(f"{path}/finish")
    until(desk, slide, "finished")
    assert desk.judged(slide).fields_seen == 4
    stored = sorted(p.name for p in (tmp_path / "data" / "upload" / slide).iterdir())
    assert stored == [f"photo-{n:05d}" for n in range(1, 5)]
    # Another picture later: only it is looked at.
    assert send(pictures[4]) == 303
    browser.post(f"{path}/start")
    running = desk.running_of(slide)
    assert running is not None
    while running.seen().fields < 5:
        time.sleep(0.02)
    browser.post(f"{path}/pause")
    assert desk.judged(slide).fields_seen == 5


def test_a_folder_that_is_written_while_it_is_read(serving: Serving, tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    served = serving(sources=(str(folder),))
    desk = served.clinic.desk
    slide = desk.make("F-1", "Amina").id
    images = [item.image for item in SimulatedSource(SIM).fields()]  # type: ignore[union-attr]
    cv2.imwrite(str(folder / "a.png"), images[0][:, :, ::-1])
    desk.start(slide)
    running = desk.running_of(slide)
    assert running is not None
    while running.seen().fields < 1:
        time.sleep(0.02)
    cv2.imwrite(str(folder / "b.png"), images[1][:, :, ::-1])
    while running.seen().fields < 2:
        time.sleep(0.02)
    began = time.monotonic()
    desk.stop(slide, "finished")
    assert desk.get(slide).state == "finished"
    assert time.monotonic() - began < 60


def test_a_source_that_cannot_be_is_told(serving: Serving) -> None:
    served = serving(sources=("camera:77", SIM))
    desk = served.clinic.desk
    slide = desk.make("C-1", "Amina").id
    desk.start(slide)
    until(desk, slide, "new")
    assert "camera" in desk.trouble(slide)
    page = served.browser().get(f"/slides/{slide}").text
    assert "The reading stopped:" in page
    # Nothing stands in the way of the next try.
    with pytest.raises(Refused, match="This source"):
        desk.make("C-2", "Amina", source="/etc")


class _Frozen:
    """A camera that gives one frame and then nothing, and does not fail either."""

    def __init__(self) -> None:
        self.given = False

    def read(self) -> np.ndarray | None:
        if self.given:
            return None
        self.given = True
        return np.full((480, 640, 3), 200, np.uint8)

    def close(self) -> None:
        pass


def test_a_frozen_camera_is_seen(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving(stall_s=0.5)
    desk, client = served.clinic.desk, served.client()
    assert client.get("/healthz").json() == {"status": "ok"}
    monkeypatch.setattr(desk, "_source", lambda _: CameraSource("camera:0", _Frozen, 5.0))
    slide = desk.make("C-3", "Amina").id
    desk.start(slide)
    end = time.monotonic() + 30
    while client.get("/healthz").status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert desk.stuck
    assert client.get("/healthz").json() == {"status": "stuck"}
    assert "edge_malaria_stuck 1.0" in _metrics(served)
    # The source itself gives up later; then all is well again.
    until(desk, slide, "paused")
    assert client.get("/healthz").status_code == 200


def _metrics(served: Served) -> str:
    from starlette.testclient import TestClient

    from edge_malaria.runtime.serve.app import application

    here = TestClient(application(served.clinic), "http://127.0.0.1", client=("127.0.0.1", 4000))
    return here.get("/metrics").text


def test_numbers_for_prometheus_say_nothing_of_samples(serving: Serving) -> None:
    served = serving(users=True, read=True)
    slide = served.slide("SECRET-CODE")
    text = _metrics(served)
    assert 'edge_malaria_slides{state="finished"} 1.0' in text
    assert "SECRET-CODE" not in text and slide not in text
    assert served.client().get("/metrics").status_code == 401
    assert served.browser("Sam").client.get("/metrics").status_code == 200


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


@pytest.mark.parametrize("language", ["en", "fr", "bn", "sw", "pt"])
def test_every_page_in_every_language(serving: Serving, language: str) -> None:
    served = serving(read=True)
    slide = served.slide()
    browser = served.browser()
    browser.post("/language", language=language, back="/new")
    browser.post(f"/slides/{slide}/who", reader="Amina")
    where = f"/slides/{slide}"
    pages = ["/", "/new", "/users", "/audit", where, f"{where}/review?cell=0", f"{where}/fields",
             f"{where}/fields/0", f"{where}/fields/1"]  # fmt: skip
    for path in pages:
        text = browser.get(path).text
        assert f'<html lang="{language}">' in text
        assert len(text) < 150_000
    missing = browser.get("/slides/none", code=404).text
    assert f'<html lang="{language}">' in missing
    judge(served, slide, "Amina")
    assert browser.get(where).status_code == 200


def test_the_form_of_a_new_slide_refuses_what_cannot_be(serving: Serving) -> None:
    browser = serving().browser()
    good = {"sample": "A-9", "reader": "Amina"}
    for wrong in (
        {"sample": " "},
        {"sample": "x" * 61},
        {"sample": "a\x00b"},
        {"reader": ""},
        {"source": "/etc/passwd"},
        {"site": "../../etc/passwd"},
        {"blood": "rbc", "value": "many"},
        {"blood": "rbc", "value": "12"},
        {"blood": "haematocrit", "value": "nan"},
    ):
        text = browser.post("/new", 422, **{**good, **wrong}).text
        assert 'role="alert"' in text
    browser.post("/new", **good, blood="haematocrit", value="41,5")
    entry = next(iter(browser.client.get("/").text.split("A-9")[1:]), "")
    assert entry


def test_a_back_address_leads_nowhere_else(serving: Serving) -> None:
    browser = serving().browser()
    for back in ("https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"):
        assert browser.post("/language", language="fr", back=back).headers["location"] == "/"


def test_a_steered_source_closes_its_camera() -> None:
    class Camera(_Frozen):
        closed = False

        def read(self) -> np.ndarray | None:
            rng = np.random.default_rng()
            return rng.integers(0, 255, (48, 64, 3), np.uint8)

        def close(self) -> None:
            Camera.closed = True

    source = SteeredSource(CameraSource("camera:0", Camera, 5.0), {"sample": {}})
    fields = source.fields()
    next(fields)
    source.stop()
    assert next(fields, None) is None
    end = time.monotonic() + 10
    while not Camera.closed:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_uploads_survive_a_restart(tmp_path: Path) -> None:
    image = next(iter(SimulatedSource(SIM).fields())).image  # type: ignore[union-attr]
    data = cv2.imencode(".png", image)[1].tobytes()
    assert UploadFolder(tmp_path).add(data) == "photo-00001"
    again = UploadFolder(tmp_path)
    assert again.add(data) == "photo-00002"
    fields = again.fields(skip={"photo-00001"})
    assert next(fields).name == "photo-00002"
    again.end()
    assert next(fields, None) is None


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    for wrong in ({"port": 70000}, {"upload_bytes": 0}, {"stall_s": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            ServeSettings(tmp_path, **wrong)  # type: ignore[arg-type]


def test_a_store_of_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """A database of the first version, with a slide in it, gains the new columns and tables."""
    import sqlite3

    from edge_malaria.runtime.store.migrations import MIGRATIONS

    tmp_path.joinpath("x").mkdir()
    path = tmp_path / "x" / NAME
    connection = sqlite3.connect(path)
    connection.executescript(MIGRATIONS[0])
    connection.execute(
        "INSERT INTO slides (id, sample, rbc_per_ul, state, created) "
        "VALUES ('s', 'A', 5e6, 'finished', '2026-01-01')"
    )
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    store = Store(tmp_path / "x")
    with store.use() as opened:
        entry = Worklist(opened, tmp_path / "x").get("s")
        assert (entry.sample, entry.source, entry.signed_at) == ("A", "", "")
        assert opened.execute("SELECT count(*) FROM users").fetchone()[0] == 0
    store.close()


def test_the_worklist_follows_the_last_decision(serving: Serving) -> None:
    served = serving(read=True)
    desk = served.clinic.desk
    slide = served.slide()
    assert (desk.get(slide).verdict, desk.get(slide).basis) == ("indeterminate", "algorithm")
    flagged = judge(served, slide, "Amina")
    # Nobody looked at a page since.
    entry = desk.get(slide)
    assert (entry.verdict, entry.basis) == ("parasites-detected", "reader")
    assert entry.reviewed == flagged
    kept = json.loads((desk.directory(slide) / "report.json").read_text())
    assert kept["verdict"] == "parasites-detected"
    key = _first(desk, slide)
    desk.decide(slide, *key, "withdrawn", "Amina")
    entry = desk.get(slide)
    assert (entry.verdict, entry.basis, entry.reviewed) == (
        "indeterminate",
        "algorithm",
        flagged - 1,
    )


@pytest.mark.slow
def test_many_readers_and_a_start_do_not_lock_each_other_out(serving: Serving) -> None:
    """Ten threads decide, look and count while the slide is started and paused again and again."""
    served = serving(read=True)
    desk, slide = served.clinic.desk, served.slide()
    with desk.reading(slide) as opened:
        keys = [cell.key for cell in opened.session.cells]
    done, odd = [], []
    over = threading.Event()

    def work(number: int) -> None:
        while not over.is_set():
            try:
                # Nested, as the page does it.
                with desk.reading(slide):
                    desk.decide(slide, *keys[number % len(keys)], "no-parasite", f"R{number}")
                done.append(number)
            except Refused:
                time.sleep(0.01)
            except Exception as error:
                odd.append(error)
                return

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.3)
        desk.start(slide)
        desk.stop(slide, "paused")
    over.set()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert odd == []
    assert done
    with desk.reading(slide) as opened:
        lines = list(opened.session.journal.reviews())
        assert not opened.session.journal.faults
    assert len(lines) == len(done)


def test_more_slides_than_are_held_open(serving: Serving, tmp_path: Path) -> None:
    served = serving(read=True)
    first = served.slide()
    slides = served.clinic.desk.directory(first).parent
    for n in range(7):
        shutil.copytree(slides / first, slides / f"copy-{n}")
    opened = OpenSlides(slides)
    for _ in range(2):
        for n in range(7):
            with opened.use(f"copy-{n}") as one:
                assert one.fields
    assert len(opened._open) <= 4
    opened.shut_all()
    with pytest.raises(Refused), opened.use("copy-0"):
        pass
