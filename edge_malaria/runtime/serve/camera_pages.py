"""The page on which the picture of an empty place is taken."""

from __future__ import annotations

from starlette.responses import Response

from edge_malaria.errors import HardwareError
from edge_malaria.runtime.serve.cameras import is_camera
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.slides import source_name
from edge_malaria.runtime.serve.visit import Visit
from edge_malaria.runtime.sources.empty_place import MOST_DAYS


def empty_place_form(visit: Visit) -> Response:
    """What was taken, and the button that takes another."""
    return _page(visit, visit.asked("source"), visit.asked("slide"), "", 200)


def _page(visit: Visit, source: str, slide: str, message: str, status: int) -> Response:
    clinic = visit.clinic
    if source not in clinic.settings.choices or not is_camera(source):
        raise Refused("This source is no camera.")
    if slide:
        clinic.desk.get(slide)
    place = clinic.desk.cameras.empty_place(source)
    return visit.page(
        "empty-place.html",
        status,
        message=message,
        name=source_name(visit, source),
        source=source,
        slide=slide,
        taken=place.taken if place else "",
        old=place is not None and not (place.age_days() <= MOST_DAYS),
        days=MOST_DAYS,
    )


def empty_place(visit: Visit) -> Response:
    """Takes it; the page says what is wrong where it cannot be."""
    source, slide = visit.form.get("source", ""), visit.form.get("slide", "")
    try:
        visit.clinic.desk.take_empty_place(source)
    except Refused as error:
        text = visit.words.say(error.message, **error.values)
        return _page(visit, source, slide, text, 422)
    except HardwareError as error:
        stopped = visit.words.say("The reading stopped:")
        return _page(visit, source, slide, f"{stopped} {error}", 503)
    visit.note("empty-place", slide, source)
    return _page(visit, source, slide, "", 200)
