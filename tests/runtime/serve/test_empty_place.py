"""The step before the first slide: a picture of an empty place, from the page."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import quote

from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.sources.cameras import CAMERA_FACT
from tests.runtime.serve.conftest import Serving
from tests.runtime.serve.served import SIM

LENS = "camera:sim:fields=2,shading=0.4,dust=6,frames_per_s=100,parasitemia=0.1"
EMPTY = f"{LENS},empty=1"


def page_of(source: str) -> str:
    return f"/empty-place?source={quote(source)}"


def test_the_empty_place_is_taken_on_a_page_and_used(serving: Serving) -> None:
    """On cells it is refused with words; on an empty place it is kept, and slides use it."""
    config = load_config()
    config = replace(config, camera=replace(config.camera, warm_up_s=0.0))
    served = serving(sources=(LENS, EMPTY, SIM), config=config)
    desk, browser = served.clinic.desk, served.browser()
    refused = browser.post("/empty-place", 422, source=LENS)
    assert "This place is not empty" in refused.text
    assert desk.cameras.empty_place(LENS) is None
    browser.get(page_of(SIM), code=409)
    browser.get(page_of("camera:9"), code=409)
    assert "None was taken yet" in browser.get(page_of(EMPTY)).text
    assert "Taken on" in browser.post("/empty-place", 200, source=EMPTY).text
    source = desk.cameras.open(EMPTY)
    next(iter(source.fields()))
    place = desk.cameras.empty_place(EMPTY)
    assert place is not None
    assert source.facts[CAMERA_FACT]["empty_place"]["sha256"] == place.sha256
    assert served.clinic.audit.latest()[0].action == "empty-place"
    slide = desk.make("A-1", "Amina", source=EMPTY).id
    ready = browser.get(f"/slides/{slide}").text
    assert "Empty place" in ready and "Taken on" in ready


def test_no_picture_is_taken_while_a_slide_is_read(serving: Serving) -> None:
    config = load_config()
    config = replace(config, camera=replace(config.camera, warm_up_s=0.0))
    served = serving(sources=(LENS, EMPTY), config=config)
    desk = served.clinic.desk
    slide = desk.make("A-1", "Amina", source=LENS).id
    desk.start(slide)
    answer = served.browser().post("/empty-place", 422, source=EMPTY)
    assert "Another slide is being read" in answer.text
    desk.stop(slide, "paused")
    assert not list((served.clinic.settings.data / "camera").glob("*"))


def test_a_camera_that_is_gone_is_told_on_the_live_page(serving: Serving) -> None:
    """The cable is pulled in the middle of a slide; the page says so, and the slide goes on."""
    loose = "camera:sim:fields=3,frames_per_s=50,unplug_at=3,away_s=3,parasitemia=0.1"
    config = load_config()
    config = replace(config, camera=replace(config.camera, warm_up_s=0.0))
    served = serving(sources=(loose,), config=config)
    desk, browser = served.clinic.desk, served.browser()
    slide = desk.make("A-1", "Amina", source=loose).id
    desk.start(slide)
    hints: list[str] = []
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        hints.append(browser.client.get(f"/slides/{slide}/live").json()["hint"])
        if any("camera is gone" in hint for hint in hints) and "camera is gone" not in hints[-1]:
            break
        time.sleep(0.05)
    assert "camera is gone" not in hints[-1] and any("camera is gone" in hint for hint in hints)
    desk.stop(slide, "finished")
    report = desk.judged(slide)
    assert any("came back" in text for text in report.warnings), report.warnings
