"""Slides on the desk: read, paused, gone on with; the journal stays the truth."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from edge_malaria.runtime.serve.reading import OpenSlides
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.store.database import NAME
from edge_malaria.runtime.store.slides import Worklist, entry_from_journal
from tests.cli import run_cli
from tests.runtime.serve.conftest import Serving
from tests.runtime.serve.read_slides import first_cell, judge, read, until
from tests.runtime.serve.served import SIM

pytestmark = pytest.mark.slow


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
    key = first_cell(desk, slide)
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
