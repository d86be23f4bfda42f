"""The OpenAPI document names every way in, with all that its handler asks for."""

from __future__ import annotations

import inspect
import re

import pytest

from edge_malaria.runtime.serve import people, review, slides
from edge_malaria.runtime.serve.routes import DOORS
from edge_malaria.runtime.serve.visit import Door
from tests.runtime.serve.conftest import Serving

_FORM = re.compile(r"""form\.get\(\s*"(\w+)\"""")
_QUERY = re.compile(r"""visit\.(?:number|asked)\(\s*"(\w+)\"""")


@pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door.method} {door.path}")
def test_a_door_names_what_its_handler_asks_for(door: Door) -> None:
    source = inspect.getsource(door.handler)
    assert set(_FORM.findall(source)) <= {*door.form, "csrf"}
    asked = set(_QUERY.findall(source))
    assert (asked or set(door.query)) == set(door.query)
    assert not door.form or door.method == "POST"


def test_the_patterns_above_see_fields() -> None:
    assert "sample" in _FORM.findall(inspect.getsource(slides.new))
    assert "disabled" in _FORM.findall(inspect.getsource(people.change_user))
    assert _QUERY.findall(inspect.getsource(review.look)) == ["cell"]


def test_the_document_names_every_door(serving: Serving) -> None:
    served = serving(users=True)
    assert served.client().get("/openapi.json").status_code == 401
    document = served.browser("Rita").client.get("/openapi.json").json()
    named = {
        f"{method.upper()} {path}": one["x-role"] or None
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    }
    assert named == {f"{door.method} {door.path}": door.role for door in DOORS}
    idents = [one["operationId"] for ways in document["paths"].values() for one in ways.values()]
    assert len(set(idents)) == len(DOORS)
    assert all(one["summary"] for ways in document["paths"].values() for one in ways.values())
    answers = document["paths"]["/slides/{slide}/report.pdf"]["get"]["responses"]
    assert set(answers["200"]["content"]) == {"application/pdf"}
