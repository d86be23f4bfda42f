"""The OpenAPI document of the pages, made from the doors: for programs, and to test every one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from edge_malaria import __version__
from edge_malaria.records import RESEARCH_USE
from edge_malaria.runtime.serve.visit import Door

_FORM, _UPLOAD = "application/x-www-form-urlencoded", "multipart/form-data"
_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": 4000}
_NUMBER: Mapping[str, Any] = {"type": "integer", "minimum": 0, "maximum": 99_999_999}
_NUMBERS = ("cell", "from", "before")
# What any door may answer, beside what it is for.
_ANSWERS = {
    "303": "Leads on to another page.",
    "400": "Not understood.",
    "401": "Sign in first.",
    "403": "Not with this role, or not from a page of this device.",
    "404": "Not on this device.",
    "409": "Cannot be done now; says why.",
    "413": "More than the device takes at once.",
    "422": "A value of the form cannot be.",
    "429": "Too many wrong passwords.",
    "503": "The running slide stands still.",
    "507": "No room on the disk; nothing was done.",
}


def document(doors: Iterable[Door], cookie: str) -> dict[str, Any]:
    """The document, OpenAPI 3.1.

    Args:
        doors: every way in.
        cookie: the name of the session's.
    """
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        paths.setdefault(door.path, {})[door.method.lower()] = _operation(door)
    scheme = {"type": "apiKey", "in": "cookie", "name": cookie}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edge-malaria serve",
            "version": __version__,
            "description": RESEARCH_USE,
        },
        "paths": paths,
        "components": {"securitySchemes": {"session": scheme}},
    }


def _operation(door: Door) -> dict[str, Any]:
    words = (door.handler.__doc__ or "").strip().splitlines()
    answers = {code: {"description": text} for code, text in _ANSWERS.items()}
    content: dict[str, Any] = {kind.strip(): {} for kind in door.kind.split(",")}
    made: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "-", f"{door.method.lower()}{door.path}").strip("-"),
        "summary": words[0] if words else "",
        "x-role": door.role or "",
        "security": [{"session": []}] if door.role else [],
        "parameters": [*_places(door), *_asked(door)],
        "responses": {"200": {"description": "What was asked for.", "content": content}, **answers},
    }
    if door.method == "POST":
        made["requestBody"] = {"required": True, "content": _body(door)}
    return made


def _places(door: Door) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", door.path)
    ]


def _asked(door: Door) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "schema": _NUMBER if name in _NUMBERS else _TEXT}
        for name in door.query
    ]


def _body(door: Door) -> dict[str, Any]:
    fields: dict[str, Any] = dict.fromkeys(("csrf", *door.form), _TEXT)
    schema: dict[str, Any] = {"type": "object", "properties": fields, "required": ["csrf"]}
    if not door.upload:
        return {_FORM: {"schema": schema}}
    pictures = {"type": "array", "items": {"type": "string", "format": "binary"}}
    fields["pictures"] = pictures
    return {_UPLOAD: {"schema": schema}}
