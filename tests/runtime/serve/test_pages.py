"""What the pages show in every language, what their forms refuse, and the numbers."""

from __future__ import annotations

import html
import re
from urllib.parse import urljoin

import pytest

from tests.runtime.serve.conftest import Serving
from tests.runtime.serve.read_slides import judge, metrics_text

pytestmark = pytest.mark.slow


def test_numbers_for_prometheus_say_nothing_of_samples(serving: Serving) -> None:
    served = serving(users=True, read=True)
    slide = served.slide("SECRET-CODE")
    text = metrics_text(served)
    assert 'edge_malaria_slides{state="finished"} 1.0' in text
    assert "SECRET-CODE" not in text and slide not in text
    assert served.client().get("/metrics").status_code == 401
    assert served.browser("Sam").client.get("/metrics").status_code == 200


@pytest.mark.parametrize("language", ["en", "fr", "bn", "sw", "pt"])
def test_every_page_in_every_language(serving: Serving, language: str) -> None:
    served = serving(read=True)
    slide = served.slide()
    browser = served.browser()
    browser.post("/language", language=language, back="/new")
    browser.post(f"/slides/{slide}/who", reader="Amina")
    where = f"/slides/{slide}"
    pages = ["/", "/new", "/users", "/audit", where, f"{where}/review?cell=0", f"{where}/fields",
             f"{where}/fields/0", f"{where}/fields/1"]  # fmt: skip
    for path in pages:
        text = browser.get(path).text
        assert f'<html lang="{language}">' in text
        assert len(text) < 150_000
    missing = browser.get("/slides/none", code=404).text
    assert f'<html lang="{language}">' in missing
    judge(served, slide, "Amina")
    assert browser.get(where).status_code == 200


@pytest.mark.parametrize("signed", [False, True])
def test_whatever_a_page_names_is_there(serving: Serving, signed: bool) -> None:
    """Every link and picture, from the worklist on."""
    served = serving(read=True)
    slide = served.slide()
    browser = served.browser()
    browser.post(f"/slides/{slide}/who", reader="Amina")
    if signed:
        judge(served, slide, "Amina")
        browser.post(f"/slides/{slide}/sign", agree="yes", reader="Sam")
    seen: dict[str, int] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        answer = browser.client.get(path, headers={"Accept": "text/html"})
        seen[path] = answer.status_code
        if answer.headers.get("content-disposition", "").startswith("attachment"):
            continue
        if answer.headers.get("content-type", "").startswith("text/html"):
            found = re.findall(r'(?:href|src)="([^"#]+)', answer.text)
            named = {urljoin(path, html.unescape(one)) for one in found}
            waiting += sorted(named - seen.keys() - set(waiting))
    assert {path: code for path, code in seen.items() if code not in (200, 303)} == {}
    pictures = [path for path in seen if re.search(r"/fields/\d+\.jpg", path)]
    cells = [path for path in seen if re.search(r"/cells/\d+\.jpg", path)]
    assert len(pictures) == 6
    # A signed slide leads to no review any more.
    assert bool(cells) != signed
    decide = browser.get(f"/slides/{slide}/review?cell=0").text.count('name="decision"')
    assert (decide == 0) == signed


def test_the_form_of_a_new_slide_refuses_what_cannot_be(serving: Serving) -> None:
    browser = serving().browser()
    good = {"sample": "A-9", "reader": "Amina"}
    for wrong in (
        {"sample": " "},
        {"sample": "x" * 61},
        {"sample": "a\x00b"},
        {"reader": ""},
        {"source": "/etc/passwd"},
        {"site": "../../etc/passwd"},
        {"blood": "rbc", "value": "many"},
        {"blood": "rbc", "value": "12"},
        {"blood": "haematocrit", "value": "nan"},
    ):
        text = browser.post("/new", 422, **{**good, **wrong}).text
        assert 'role="alert"' in text
    browser.post("/new", **good, blood="haematocrit", value="41,5")
    entry = next(iter(browser.client.get("/").text.split("A-9")[1:]), "")
    assert entry


def test_a_back_address_leads_nowhere_else(serving: Serving) -> None:
    browser = serving().browser()
    for back in ("https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"):
        assert browser.post("/language", language="fr", back=back).headers["location"] == "/"
