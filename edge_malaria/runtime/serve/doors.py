"""Who may pass: host, size, session, role and the form's token are looked at before any handler."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive

from edge_malaria.errors import DataError, EdgeMalariaError, StorageError, UsageError
from edge_malaria.runtime.serve.clinic import Clinic
from edge_malaria.runtime.serve.refused import NotHere, Refused
from edge_malaria.runtime.serve.sessions import Session, new_token
from edge_malaria.runtime.serve.users import User, may
from edge_malaria.runtime.serve.visit import LANGUAGE_COOKIE, Door, Visit
from edge_malaria.runtime.words.language import mark, negotiated, words_for

LOG = logging.getLogger("edge_malaria.serve")
MOST_FORM_BYTES = 64_000
MOST_FILES = 50
_TOO_LARGE = mark("That is more than this device takes at once.")


class _TooLarge(Exception):
    pass


def endpoint(clinic: Clinic, door: Door) -> Callable[[Request], Awaitable[Response]]:
    """What Starlette calls for a door."""

    async def answer(request: Request) -> Response:
        if clinic.settings.local and not clinic.own_host(request):
            return PlainTextResponse("another host", 403)
        session, known = await run_in_threadpool(_session, clinic, request)
        user = await run_in_threadpool(_user, clinic, session)
        language = negotiated(
            request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("accept-language", "")
        )
        visit = Visit(clinic, request, user, session, words_for(language))
        if not may(user.role if user else None, door.role):
            response = _closed(visit, door)
        else:
            response = await _inside(visit, door)
        if not known and not door.machine:
            clinic.set_cookie(response, clinic.session_cookie, session.token)
        return response

    return answer


def _session(clinic: Clinic, request: Request) -> tuple[Session, bool]:
    """The browser's session, and whether its cookie may stay."""
    token = request.cookies.get(clinic.session_cookie, "")
    found = clinic.sessions.find(token) if clinic.with_users else None
    if found is not None:
        return found, True
    # Nothing is kept of a browser that did not sign in: the cookie alone ties its forms to it.
    if 40 <= len(token) <= 60 and token.isascii():
        return Session(token), True
    return Session(new_token()), False


def _user(clinic: Clinic, session: Session) -> User | None:
    if not clinic.with_users:
        return User("", "admin")
    return clinic.users.get(session.user) if session.user else None


def _closed(visit: Visit, door: Door) -> Response:
    """The answer to somebody who may not enter."""
    if door.machine:
        return PlainTextResponse("not without signing in", 401 if visit.user is None else 403)
    if visit.user is None:
        if door.method == "GET" and "text/html" in visit.request.headers.get("accept", ""):
            return visit.to("/sign-in")
        return visit.page("error.html", 401, message=visit.words.say("Sign in first."))
    return visit.page("error.html", 403, message=visit.words.say("Your role may not do this."))


async def _inside(visit: Visit, door: Door) -> Response:
    try:
        if door.method == "POST":
            visit = await _with_form(visit, door)
            if not _own_form(visit):
                message = visit.words.say("This form is too old. Load the page again.")
                return visit.page("error.html", 403, message=message)
        return await run_in_threadpool(door.handler, visit)
    except _TooLarge:
        return visit.page("error.html", 413, message=visit.words.say(_TOO_LARGE))
    except HTTPException as error:
        return visit.page("error.html", error.status_code, message=str(error.detail), english=True)
    except EdgeMalariaError as error:
        return await run_in_threadpool(_failed, visit, error)


async def _with_form(visit: Visit, door: Door) -> Visit:
    """Reads the form, no more of it than the door allows."""
    most = visit.clinic.settings.upload_bytes if door.upload else MOST_FORM_BYTES
    length = visit.request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _TooLarge
    request = Request(visit.request.scope, _counted(visit.request.receive, most))
    texts: dict[str, str] = {}
    files: list[bytes] = []
    async with request.form(max_files=MOST_FILES if door.upload else 0, max_fields=60) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
                if data:
                    files.append(data)
            else:
                texts[_sound(name)] = _sound(value)
    return Visit(
        visit.clinic, visit.request, visit.user, visit.session, visit.words, texts, tuple(files)
    )


def _sound(text: str) -> str:
    """Text that can be stored and hashed; some character sets make halves of letters.

    Raises:
        HTTPException: it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise HTTPException(400, "no text") from error
    return text


def _counted(receive: Receive, most: int) -> Receive:
    """``receive`` that ends a request which says nothing of its length and never ends."""
    taken = 0

    async def receiving() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise _TooLarge
        return message

    return receiving


def _own_form(visit: Visit) -> bool:
    """Whether the form comes from a page of ours, shown to this very browser."""
    request = visit.request
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    token = visit.form.get("csrf", "")
    return hmac.compare_digest(token.encode(), visit.session.csrf.encode())


def _failed(visit: Visit, error: EdgeMalariaError) -> Response:
    """A page that says in words what cannot be done."""
    if isinstance(error, Refused):
        status = 404 if isinstance(error, NotHere) else 409
        message = visit.words.say(error.message, **error.values)
        return visit.page("error.html", status, message=message)
    LOG.warning("%s %s: %s", visit.request.method, visit.request.url.path, error)
    kinds = ((StorageError, 507), (UsageError, 409), (DataError, 500))
    status = next((code for kind, code in kinds if isinstance(error, kind)), 500)
    return visit.page("error.html", status, message=str(error), english=True)
