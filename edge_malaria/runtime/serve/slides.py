"""Pages of the worklist and of one slide: new, start, pause, finish, live view, uploads."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from edge_malaria.errors import DataError, UsageError
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.report.interval_plot import interval_plot
from edge_malaria.runtime.report.page import limits_card
from edge_malaria.runtime.serve import facts
from edge_malaria.runtime.serve.cameras import is_camera
from edge_malaria.runtime.serve.live import live_values
from edge_malaria.runtime.serve.refused import NotHere, Refused
from edge_malaria.runtime.serve.sayings import STATES
from edge_malaria.runtime.serve.settings import UPLOADS
from edge_malaria.runtime.serve.visit import READER_COOKIE, Visit
from edge_malaria.runtime.slide.counts import rbc_per_ul
from edge_malaria.runtime.store.disk import room
from edge_malaria.runtime.words.language import mark

_SOURCES = {
    "camera": mark("Camera"),
    "picamera": mark("Camera"),
    "sim": mark("Drawn slide (for practice)"),
    UPLOADS: mark("Pictures from a phone"),
}


def source_name(visit: Visit, source: str) -> str:
    """What a source is called on a page."""
    if source.startswith(("sim", "camera", "picamera")) or source == UPLOADS:
        return f"{visit.words.say(_SOURCES[source.partition(':')[0]])} ({source})"
    folder = visit.words.say("Folder")
    return f"{folder} ({source})"


def worklist(visit: Visit) -> Response:
    """All slides, the latest first."""
    desk = visit.clinic.desk
    return visit.page(
        "worklist.html",
        entries=desk.entries()[:500],
        states=STATES,
        verdicts=sayings.SHORT_VERDICTS,
        scarce=room(visit.clinic.settings.data).scarce,
        notes=desk.notes,
    )


def new_form(visit: Visit) -> Response:
    """The form of a new slide."""
    return _new_page(visit, "", 200)


def _new_page(visit: Visit, message: str, status: int) -> Response:
    clinic = visit.clinic
    sources = [(name, source_name(visit, name)) for name in clinic.settings.choices]
    return visit.page(
        "new.html",
        status,
        message=message,
        form=visit.form,
        sources=sources,
        sites=clinic.desk.sites,
    )


def new(visit: Visit) -> Response:
    """Makes a slide."""
    form = visit.form
    reader = visit.reader if visit.clinic.with_users else form.get("reader", "")
    try:
        entry = visit.clinic.desk.make(
            form.get("sample", ""),
            reader,
            site=form.get("site", ""),
            rbc_per_ul=_red_cells(form.get("blood", ""), form.get("value", "")),
            source=form.get("source", ""),
        )
    except Refused as error:
        return _new_page(visit, visit.words.say(error.message, **error.values), 422)
    visit.note("slide-made", entry.id, entry.sample)
    response = visit.to(f"/slides/{entry.id}")
    if not visit.clinic.with_users:
        keep_reader(visit, response, entry.reader)
    return response


def keep_reader(visit: Visit, response: Response, reader: str) -> None:
    """Keeps who reads in this browser, where nobody signs in."""
    from urllib.parse import quote

    visit.clinic.set_cookie(response, READER_COOKIE, quote(reader), keep=True)


def _red_cells(kind: str, text: str) -> float:
    """Red cells per microlitre from the form.

    Raises:
        Refused: no number, or one that cannot be.
    """
    if kind not in ("rbc", "haematocrit"):
        return rbc_per_ul(None, None)
    try:
        value = float(text.replace(",", ".").replace(" ", ""))
    except ValueError as error:
        raise Refused("Red cells or haematocrit: expected a number.") from error
    if kind == "rbc" and 1e5 <= value <= 1e7:
        return rbc_per_ul(value, None)
    if kind == "haematocrit" and 5 <= value <= 75:
        return rbc_per_ul(None, value)
    raise Refused("Red cells are 100000 to 10000000 per microlitre, haematocrit 5 to 75 per cent.")


def show(visit: Visit) -> Response:
    """One slide, as its state asks for."""
    desk = visit.clinic.desk
    entry = desk.get(visit.slide)
    values: dict[str, Any] = {
        "entry": entry,
        "states": STATES,
        "source": source_name(visit, entry.source),
        "uploads": entry.source == UPLOADS,
        "arrived": len(desk.uploads(entry.id).waiting) if entry.source == UPLOADS else 0,
        "trouble": desk.trouble(entry.id),
        "camera": is_camera(entry.source),
        "empty_place": _taken(visit, entry.source),
    }
    running = desk.running_of(entry.id)
    if running is not None:
        return visit.page("live.html", **values, live=live_values(running, visit.words))
    if entry.state == "new":
        return visit.page("ready.html", **values)
    try:
        report = desk.judged(entry.id)
    except Refused:
        raise
    except UsageError:
        # A power cut came before the first report: the fields that were counted stand.
        return visit.page("ready.html", **values)
    words, entry = visit.words, desk.get(entry.id)
    return visit.page(
        "result.html",
        **{**values, "entry": entry},
        report=report,
        title=sayings.verdict_title(words, report),
        basis=sayings.basis(words, report),
        why=sayings.why(words, report),
        steps=sayings.next_steps(words, report),
        waiting=sayings.waiting(report),
        reason=sayings.reason,
        facts=facts.table(words, entry, report),
        # Drawn by the report's own code, which escapes what it says.
        interval=interval_plot(words, report),
        limits=limits_card(words, report),
        status=facts.status(words, entry),
        letters=visit.clinic.pushing.of_slide(entry.id),
    )


def _taken(visit: Visit, source: str) -> str:
    """When the picture of a camera's empty place was taken, "" for none or one that is damaged."""
    if not is_camera(source):
        return ""
    try:
        place = visit.clinic.desk.cameras.empty_place(source)
    except DataError:
        return ""
    return place.taken if place else ""


def start(visit: Visit) -> Response:
    """Starts or goes on."""
    if visit.clinic.desk.start(visit.slide):
        visit.note("started", visit.slide)
    return visit.to(f"/slides/{visit.slide}")


def pause(visit: Visit) -> Response:
    """Pauses; what was counted stands."""
    if visit.clinic.desk.stop(visit.slide, "paused"):
        visit.note("paused", visit.slide)
    return visit.to(f"/slides/{visit.slide}")


def finish(visit: Visit) -> Response:
    """Finishes: now the flagged cells are looked at."""
    if visit.clinic.desk.stop(visit.slide, "finished"):
        visit.note("finished", visit.slide)
    return visit.to(f"/slides/{visit.slide}")


def upload(visit: Visit) -> Response:
    """Takes pictures from a phone."""
    if not visit.files:
        raise Refused("No picture was chosen.")
    taken = visit.clinic.desk.upload(visit.slide, list(visit.files))
    visit.note("uploaded", visit.slide, str(taken))
    return visit.to(f"/slides/{visit.slide}")


def live(visit: Visit) -> Response:
    """The live page's values; ``state`` other than running asks the page to load itself anew."""
    desk = visit.clinic.desk
    running = desk.running_of(visit.slide)
    if running is None:
        return JSONResponse({"state": desk.get(visit.slide).state})
    return JSONResponse(live_values(running, visit.words))


def frame(visit: Visit) -> Response:
    """The newest frame, small."""
    running = visit.clinic.desk.running_of(visit.slide)
    picture = running.source.newest_jpeg() if running is not None else b""
    if not picture:
        raise NotHere("There is no picture yet.")
    return Response(picture, media_type="image/jpeg")
