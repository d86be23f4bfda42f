"""Slides of the desk that were read to their end, and decided on."""

from __future__ import annotations

import time

from edge_malaria.runtime.serve.desk import Desk
from tests.runtime.serve.conftest import Served


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


def first_cell(desk: Desk, slide: str) -> tuple[str, int]:
    with desk.reading(slide) as opened:
        return opened.session.cells[0].key


def metrics_text(served: Served) -> str:
    from starlette.testclient import TestClient

    from edge_malaria.runtime.serve.app import application

    here = TestClient(application(served.clinic), "http://127.0.0.1", client=("127.0.0.1", 4000))
    return here.get("/metrics").text
