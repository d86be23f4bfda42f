"""Pages of persons: signing in and out, language, users, the audit trail."""

from __future__ import annotations

import math

from starlette.responses import Response

from edge_malaria.errors import UsageError
from edge_malaria.runtime.serve import sayings
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.sessions import new_token
from edge_malaria.runtime.serve.users import LEAST_PASSWORD
from edge_malaria.runtime.serve.visit import LANGUAGE_COOKIE, Visit
from edge_malaria.runtime.words.language import LANGUAGES

_LINES_A_PAGE = 100


def sign_in_form(visit: Visit) -> Response:
    """The form."""
    if visit.user is not None:
        return visit.to("/")
    return visit.page("sign-in.html", message="")


def sign_in(visit: Visit) -> Response:
    """Checks name and password; wrong ones are slowed down, by name and by address."""
    clinic = visit.clinic
    name = visit.form.get("name", "").strip()[:80]
    client = visit.request.client
    keys = (f"name {name}", f"address {client.host if client else ''}")
    wait_s = clinic.throttle.wait_s(*keys)
    if wait_s > 0:
        text = visit.words.say(
            "Too many wrong passwords. Wait %(seconds)s seconds.", seconds=math.ceil(wait_s)
        )
        response: Response = visit.page("sign-in.html", 429, message=text)
        response.headers["Retry-After"] = str(math.ceil(wait_s))
        return response
    user = clinic.users.verify(name, visit.form.get("password", ""))
    if user is None:
        clinic.throttle.failed(*keys)
        visit.note("sign-in-failed", detail=name)
        text = visit.words.say("Name or password is wrong.")
        return visit.page("sign-in.html", 403, message=text)
    clinic.throttle.passed(keys[0])
    # A session of its own: whatever cookie the browser had before is worth nothing.
    session = clinic.sessions.start(user.name)
    response = visit.to("/")
    clinic.set_cookie(response, clinic.session_cookie, session.token)
    visit.note("signed-in", detail=user.name)
    return response


def sign_out(visit: Visit) -> Response:
    """Ends the session."""
    clinic = visit.clinic
    clinic.sessions.end(visit.session)
    visit.note("signed-out")
    response = visit.to("/")
    clinic.set_cookie(response, clinic.session_cookie, new_token())
    return response


def language(visit: Visit) -> Response:
    """Keeps the language in this browser."""
    wanted = visit.form.get("language", "")
    back = visit.form.get("back", "/")
    # Only ways on this device: never to an address that somebody put into the form.
    response = visit.to(back if back.startswith("/") and not back.startswith("//") else "/")
    if wanted in LANGUAGES:
        visit.clinic.set_cookie(response, LANGUAGE_COOKIE, wanted, keep=True)
    return response


def users(visit: Visit) -> Response:
    """The users of this device."""
    return visit.page(
        "users.html",
        users=visit.clinic.users.all(),
        roles=sayings.ROLES,
        least=LEAST_PASSWORD,
    )


def add_user(visit: Visit) -> Response:
    """Adds a user; the first one must be an administrator, who can add others."""
    form, clinic = visit.form, visit.clinic
    role = form.get("role", "")
    if not clinic.with_users and role != "admin":
        raise Refused("The first user must be an administrator.")
    password = _password(form.get("password", ""))
    try:
        added = clinic.users.add(form.get("name", ""), role, password)
    except UsageError as error:
        raise Refused("No such user can be added: is the name taken?") from error
    visit.note("user-added", detail=f"{added.name} {added.role}")
    return visit.to("/users")


def change_user(visit: Visit) -> Response:
    """Changes a role or a password, or lets a user in no more."""
    form, clinic = visit.form, visit.clinic
    name, disabled = form.get("name", ""), form.get("disabled", "")
    password = form.get("password", "")
    try:
        clinic.users.change(
            name,
            role=form.get("role") or None,
            password=_password(password) if password else None,
            disabled={"yes": True, "no": False}.get(disabled),
        )
    except Refused:
        raise
    except UsageError as error:
        raise Refused("The last administrator stays: name another one first.") from error
    what = [key for key in ("role", "disabled", "password") if form.get(key)]
    visit.note("user-changed", detail=f"{name}: {', '.join(what)}")
    return visit.to("/users")


def _password(text: str) -> str:
    if len(text) < LEAST_PASSWORD:
        raise Refused("A password needs %(least)s characters or more.", least=LEAST_PASSWORD)
    return text


def audit(visit: Visit) -> Response:
    """Who did what, the latest first."""
    before = visit.number("before") or None
    lines = visit.clinic.audit.latest(_LINES_A_PAGE, before)
    return visit.page(
        "audit.html", lines=lines, full=len(lines) == _LINES_A_PAGE, actions=sayings.ACTIONS
    )
