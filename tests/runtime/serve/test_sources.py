"""Where the desk's fields come from: a phone, a growing folder, a camera that freezes."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.steered import SteeredSource, UploadFolder
from edge_malaria.runtime.sources.cameras import CameraSource
from edge_malaria.runtime.sources.simulated import SimulatedSource
from tests.runtime.serve.conftest import Serving
from tests.runtime.serve.read_slides import metrics_text, until
from tests.runtime.serve.served import SIM

pytestmark = pytest.mark.slow


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
    assert "edge_malaria_stuck 1.0" in metrics_text(served)
    # The source itself gives up later; then all is well again.
    until(desk, slide, "paused")
    assert client.get("/healthz").status_code == 200


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
