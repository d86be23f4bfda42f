"""Every way in, with the role that it asks for. A test goes through this list."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from edge_malaria.runtime.serve import (
    camera_pages,
    documents,
    openapi,
    operations,
    outbox,
    people,
    review,
    slides,
)
from edge_malaria.runtime.serve.visit import Door, Visit


def described(visit: Visit) -> Response:
    """This list as an OpenAPI document."""
    return JSONResponse(openapi.document(DOORS, visit.clinic.session_cookie))


DOORS: tuple[Door, ...] = (
    Door("GET", "/healthz", None, operations.health, machine=True, kind="application/json"),
    # Open to this machine alone; the handler asks others for a supervisor.
    Door("GET", "/metrics", None, operations.metrics, machine=True, kind="text/plain"),
    Door(
        "GET",
        "/static/{name}",
        None,
        operations.asset,
        machine=True,
        kind="text/css, text/javascript, image/svg+xml",
    ),
    Door("GET", "/openapi.json", "reader", described, machine=True, kind="application/json"),
    Door("GET", "/sign-in", None, people.sign_in_form),
    Door("POST", "/sign-in", None, people.sign_in, form=("name", "password")),
    Door("POST", "/language", None, people.language, form=("language", "back")),
    Door("POST", "/sign-out", "reader", people.sign_out),
    Door("GET", "/", "reader", slides.worklist),
    Door("GET", "/new", "reader", slides.new_form),
    Door(
        "POST",
        "/new",
        "reader",
        slides.new,
        form=("sample", "reader", "source", "site", "blood", "value"),
    ),
    Door("GET", "/empty-place", "reader", camera_pages.empty_place_form, query=("source", "slide")),
    Door("POST", "/empty-place", "reader", camera_pages.empty_place, form=("source", "slide")),
    Door("GET", "/slides/{slide}", "reader", slides.show),
    Door("POST", "/slides/{slide}/start", "reader", slides.start),
    Door("POST", "/slides/{slide}/pause", "reader", slides.pause),
    Door("POST", "/slides/{slide}/finish", "reader", slides.finish),
    Door("POST", "/slides/{slide}/upload", "reader", slides.upload, upload=True),
    Door(
        "GET", "/slides/{slide}/live", "reader", slides.live, machine=True, kind="application/json"
    ),
    Door(
        "GET", "/slides/{slide}/frame.jpg", "reader", slides.frame, machine=True, kind="image/jpeg"
    ),
    Door("GET", "/slides/{slide}/review", "reader", review.look, query=("cell",)),
    Door("POST", "/slides/{slide}/who", "reader", review.who, form=("reader",)),
    Door(
        "POST", "/slides/{slide}/decide", "reader", review.decide, form=("cell", "key", "decision")
    ),
    Door(
        "GET",
        "/slides/{slide}/cells/{number}.jpg",
        "reader",
        review.cell_picture,
        kind="image/jpeg",
    ),
    Door("GET", "/slides/{slide}/fields", "reader", review.fields, query=("from",)),
    # The first that fits answers: the picture stands before the page.
    Door(
        "GET",
        "/slides/{slide}/fields/{number}.jpg",
        "reader",
        review.field_picture,
        kind="image/jpeg",
    ),
    Door("GET", "/slides/{slide}/fields/{number}", "reader", review.field),
    Door("GET", "/slides/{slide}/report.pdf", "reader", documents.pdf, kind="application/pdf"),
    Door(
        "GET",
        "/slides/{slide}/report.fhir.json",
        "reader",
        documents.fhir,
        kind="application/fhir+json",
    ),
    Door("GET", "/slides/{slide}/report.json", "reader", documents.record, kind="application/json"),
    Door("GET", "/slides/{slide}/report.html", "reader", documents.page),
    Door("GET", "/slides/{slide}/cells.csv", "reader", documents.cells, kind="text/csv"),
    Door("GET", "/slides/{slide}/review.csv", "reader", documents.decisions, kind="text/csv"),
    Door("GET", "/slides.csv", "reader", documents.day, query=("day",), kind="text/csv"),
    Door(
        "GET",
        "/slides.zip",
        "reader",
        documents.day_archive,
        query=("day",),
        kind="application/zip",
    ),
    Door(
        "POST",
        "/slides/{slide}/sign",
        "supervisor",
        documents.sign,
        form=("agree", "password", "reader"),
    ),
    Door("GET", "/outbox", "supervisor", outbox.outbox, query=("before",)),
    Door("POST", "/outbox/again", "supervisor", outbox.again),
    Door("GET", "/users", "admin", people.users),
    Door("POST", "/users/add", "admin", people.add_user, form=("name", "role", "password")),
    Door(
        "POST",
        "/users/change",
        "admin",
        people.change_user,
        form=("name", "role", "password", "disabled"),
    ),
    Door("GET", "/audit", "admin", people.audit, query=("before",)),
)
