"""One request: who comes, in which language, with what; and the ways to answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge_malaria.runtime.serve.refused import NotHere
from edge_malaria.runtime.serve.sessions import Session
from edge_malaria.runtime.serve.users import Role, User, may
from edge_malaria.runtime.words.language import LANGUAGES, Words

if TYPE_CHECKING:
    from edge_malaria.runtime.serve.clinic import Clinic

LOG = logging.getLogger("edge_malaria.serve")
READER_COOKIE, LANGUAGE_COOKIE = "em-reader", "em-language"


@dataclass(frozen=True)
class Visit:
    """A request that passed its door.

    Attributes:
        clinic: all that the server holds.
        request: Starlette's.
        user: who comes; None for somebody who did not sign in.
        session: of the browser.
        words: of the visitor's language.
        form: the fields of a form; files: what it uploads.
    """

    clinic: Clinic
    request: Request
    user: User | None
    session: Session
    words: Words
    form: Mapping[str, str] = field(default_factory=dict)
    files: tuple[bytes, ...] = ()

    @property
    def slide(self) -> str:
        """The slide that the path names."""
        return str(self.request.path_params.get("slide", ""))

    def asked(self, name: str) -> str:
        """A value of the address's query, "" for none."""
        return self.request.query_params.get(name, "")

    def number(self, name: str, default: int = 0) -> int:
        """A whole number of the query; ``default`` for anything else."""
        found = whole_number(self.asked(name))
        return default if found is None else found

    @property
    def place(self) -> int:
        """The number that the path names: of a cell, of a field.

        Raises:
            NotHere: it is none.
        """
        found = whole_number(str(self.request.path_params["number"]))
        if found is None:
            raise NotHere("There is no such page.")
        return found

    @property
    def reader(self) -> str:
        """Under whose name decisions are taken: the user's, or on this machine the one given."""
        if self.clinic.with_users:
            return self.user.name if self.user else ""
        return _plain(self.request.cookies.get(READER_COOKIE, ""))

    def may(self, role: Role) -> bool:
        """Whether the visitor may do what asks for ``role``."""
        return self.user is not None and may(self.user.role, role)

    def note(self, action: str, slide: str = "", detail: str = "") -> None:
        """Adds a line to the audit trail."""
        client = self.request.client
        who = (self.user.name if self.user else "") or self.reader or "-"
        role = self.user.role if self.user else "-"
        self.clinic.audit.add(who, role, client.host if client else "", action, slide, detail)
        # Who it was stands in the audit trail alone.
        LOG.info(
            "%s", f"{action} {slide}".rstrip(), extra={"fields": {"action": action, "slide": slide}}
        )

    def page(self, template: str, code: int = 200, /, **values: Any) -> HTMLResponse:
        """A page of the templates."""
        values = {
            "visit": self,
            "words": self.words,
            "_": self.words.say,
            "ngettext": self.words.count,
            "languages": LANGUAGES,
            "csrf": self.session.csrf,
            **values,
        }
        text = self.clinic.templates.get_template(template).render(values)
        return HTMLResponse(text, code)

    def to(self, path: str) -> RedirectResponse:
        """Leads the browser on after a form."""
        return RedirectResponse(path, 303)


def whole_number(text: str) -> int | None:
    """A number from 0 to 99,999,999 as a browser writes it; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None


def _plain(name: str) -> str:
    """A name from a cookie, where it is one."""
    from urllib.parse import unquote

    clean = " ".join(unquote(name).split())
    return clean if len(clean) <= 80 and clean.isprintable() else ""


@dataclass(frozen=True)
class Door:
    """One way in.

    Attributes:
        method: GET or POST; path: as Starlette writes it.
        role: the least role that may enter; None lets anybody in.
        handler: answers; runs in a thread of its own.
        upload: whether the request may be large.
        machine: for programs: no page, no cookie, no language.
        form: the fields of its form, beside ``csrf``; query: what its address may ask for.
        kind: of its answer, as a media type; several with a comma.
    """

    method: str
    path: str
    role: Role | None
    handler: Callable[[Visit], Response]
    upload: bool = False
    machine: bool = False
    form: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    kind: str = "text/html"
