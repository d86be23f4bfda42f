"""Second taps, pages from before, pictures of nothing, folders that vanish."""

from __future__ import annotations

import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.serve.conftest import Served, Serving
from tests.runtime.serve.read_slides import until
from tests.runtime.serve.served import Browser

pytestmark = pytest.mark.slow


def trail(served: Served, slide: str) -> list[str]:
    """What was done with a slide, the first thing first."""
    lines = served.clinic.audit.latest(100)
    return [line.action for line in reversed(lines) if line.slide == slide]


def send(browser: Browser, path: str, *pictures: bytes) -> None:
    files = [("pictures", ("IMG.jpg", one, "image/jpeg")) for one in pictures]
    data = {"csrf": browser.token()}
    assert browser.client.post(f"{path}/upload", data=data, files=files).status_code == 303


def test_a_slide_without_a_cell_is_shown_and_signed(serving: Serving) -> None:
    served = serving()
    browser, desk = served.browser(), served.clinic.desk
    path = browser.post("/new", sample="P-1", reader="Amina", source="upload").headers["location"]
    slide = path.rpartition("/")[2]
    blank = cv2.imencode(".jpg", np.full((480, 640, 3), 235, np.uint8))[1].tobytes()
    send(browser, path, blank, blank[: len(blank) // 2])
    browser.post(f"{path}/start")
    running = desk.running_of(slide)
    assert running is not None
    while running.seen().fields < 2:
        time.sleep(0.02)
    browser.post(f"{path}/finish")
    until(desk, slide, "finished")
    for language in ("en", "fr", "bn", "sw", "pt"):
        browser.post("/language", language=language, back="/")
        page = browser.get(path).text
        # Why each of the two was not counted, with what to do about it.
        assert len(re.findall(r"<li>1 &times; \S", page)) == 2
        assert browser.get(f"{path}/fields").status_code == 200
        assert browser.get(f"{path}/report.pdf").content.startswith(b"%PDF-")
    browser.post(f"{path}/sign", agree="yes", reader="Sam")
    for name in ("", "/report.html", "/report.fhir.json", "/report.pdf", "/fields/0"):
        assert browser.get(path + name).status_code == 200


def test_a_second_tap_does_nothing_and_leaves_no_line(serving: Serving) -> None:
    served = serving()
    browser, desk = served.browser(), served.clinic.desk
    path = browser.post("/new", sample="P-1", reader="Amina").headers["location"]
    slide = path.rpartition("/")[2]
    for _ in range(2):
        assert browser.post(f"{path}/start").headers["location"] == path
    for _ in range(2):
        assert browser.post(f"{path}/finish").headers["location"] == path
    until(desk, slide, "finished")
    browser.post(f"{path}/pause")
    assert desk.get(slide).state == "finished"
    assert trail(served, slide) == ["slide-made", "started", "finished"]


def test_pages_of_a_slide_that_was_not_read_say_so(serving: Serving) -> None:
    browser = serving().browser()
    path = browser.post("/new", sample="P-1", reader="Amina").headers["location"]
    for place in ("review", "fields", "fields/0", "cells/0.jpg", "report.pdf", "review.csv"):
        page = browser.get(f"{path}/{place}", code=409).text
        assert "Nothing was read of this slide yet." in page
    assert "Start" in browser.get(path).text


def test_a_folder_that_vanishes_is_told_and_waited_for(serving: Serving, tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    served = serving(sources=(str(folder),))
    browser, desk = served.browser(), served.clinic.desk
    path = browser.post("/new", sample="P-1", reader="Amina").headers["location"]
    browser.post(f"{path}/start")
    assert "Waiting for the first field." in browser.get(path).text
    folder.rename(tmp_path / "elsewhere")
    assert "The folder is gone." in browser.get(path).text
    (tmp_path / "elsewhere").rename(folder)
    assert "Waiting for the first field." in browser.get(path).text
    assert desk.stop(path.rpartition("/")[2], "paused")


def test_cells_on_which_readers_disagree_are_told_to_who_signs(serving: Serving) -> None:
    served = serving(read=True)
    slide, desk = served.slide(), served.clinic.desk
    with desk.reading(slide) as opened:
        keys = [cell.key for cell in opened.session.cells]
    for key in keys:
        desk.decide(slide, *key, "no-parasite", "Amina")
    page = served.browser().get(f"/slides/{slide}").text
    assert "no answer stands" not in page
    for key in keys[:2]:
        desk.decide(slide, *key, "parasite", "Sam")
    numbers = served.browser().get(f"/slides/{slide}").text.partition('class="tiles"')[2]
    assert "On some flagged cells no answer stands: 2." in numbers


def test_a_day_that_no_calendar_has_is_refused(serving: Serving) -> None:
    browser = serving().browser()
    for day in ("2026-02-31", "2026-13-01", "2026-00-10"):
        browser.get(f"/slides.csv?day={day}", code=409)
        browser.get(f"/slides.zip?day={day}", code=409)
