"""The page of the outbox: what was sent, what waits and why."""

from __future__ import annotations

from starlette.responses import Response

from edge_malaria.runtime.serve.visit import Visit

_LINES_A_PAGE = 100


def outbox(visit: Visit) -> Response:
    """What was sent, what waits and why, the latest first."""
    pushing = visit.clinic.pushing
    before = visit.number("before") or None
    letters = pushing.latest(_LINES_A_PAGE, before)
    return visit.page(
        "outbox.html",
        counts=pushing.counts(),
        targets=pushing.targets,
        letters=letters,
        full=len(letters) == _LINES_A_PAGE,
    )


def again(visit: Visit) -> Response:
    """Tries everything that waits now."""
    visit.clinic.pushing.again()
    visit.note("sent-again")
    return visit.to("/outbox")
