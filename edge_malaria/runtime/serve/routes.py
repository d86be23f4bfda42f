"""Every way in, with the role that it asks for. A test goes through this list."""

from __future__ import annotations

from edge_malaria.runtime.serve import (
    camera_pages,
    documents,
    operations,
    outbox,
    people,
    review,
    slides,
)
from edge_malaria.runtime.serve.visit import Door

DOORS: tuple[Door, ...] = (
    Door("GET", "/healthz", None, operations.health, machine=True),
    # Open to this machine alone; the handler asks others for a supervisor.
    Door("GET", "/metrics", None, operations.metrics, machine=True),
    Door("GET", "/static/{name}", None, operations.asset, machine=True),
    Door("GET", "/sign-in", None, people.sign_in_form),
    Door("POST", "/sign-in", None, people.sign_in),
    Door("POST", "/language", None, people.language),
    Door("POST", "/sign-out", "reader", people.sign_out),
    Door("GET", "/", "reader", slides.worklist),
    Door("GET", "/new", "reader", slides.new_form),
    Door("POST", "/new", "reader", slides.new),
    Door("GET", "/empty-place", "reader", camera_pages.empty_place_form),
    Door("POST", "/empty-place", "reader", camera_pages.empty_place),
    Door("GET", "/slides/{slide}", "reader", slides.show),
    Door("POST", "/slides/{slide}/start", "reader", slides.start),
    Door("POST", "/slides/{slide}/pause", "reader", slides.pause),
    Door("POST", "/slides/{slide}/finish", "reader", slides.finish),
    Door("POST", "/slides/{slide}/upload", "reader", slides.upload, upload=True),
    Door("GET", "/slides/{slide}/live", "reader", slides.live, machine=True),
    Door("GET", "/slides/{slide}/frame.jpg", "reader", slides.frame, machine=True),
    Door("GET", "/slides/{slide}/review", "reader", review.look),
    Door("POST", "/slides/{slide}/who", "reader", review.who),
    Door("POST", "/slides/{slide}/decide", "reader", review.decide),
    Door("GET", "/slides/{slide}/cells/{number}.jpg", "reader", review.cell_picture),
    Door("GET", "/slides/{slide}/fields", "reader", review.fields),
    Door("GET", "/slides/{slide}/fields/{number}", "reader", review.field),
    Door("GET", "/slides/{slide}/fields/{number}.jpg", "reader", review.field_picture),
    Door("GET", "/slides/{slide}/report.pdf", "reader", documents.pdf),
    Door("GET", "/slides/{slide}/report.fhir.json", "reader", documents.fhir),
    Door("GET", "/slides/{slide}/report.json", "reader", documents.record),
    Door("GET", "/slides/{slide}/report.html", "reader", documents.page),
    Door("GET", "/slides/{slide}/cells.csv", "reader", documents.cells),
    Door("GET", "/slides/{slide}/review.csv", "reader", documents.decisions),
    Door("GET", "/slides.csv", "reader", documents.day),
    Door("GET", "/slides.zip", "reader", documents.day_archive),
    Door("POST", "/slides/{slide}/sign", "supervisor", documents.sign),
    Door("GET", "/outbox", "supervisor", outbox.outbox),
    Door("POST", "/outbox/again", "supervisor", outbox.again),
    Door("GET", "/users", "admin", people.users),
    Door("POST", "/users/add", "admin", people.add_user),
    Door("POST", "/users/change", "admin", people.change_user),
    Door("GET", "/audit", "admin", people.audit),
)
