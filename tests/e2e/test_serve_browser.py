"""A person walks a whole slide in a real browser, on a phone's and on a desk's screen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.serve.served import SIM, process

try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:
    Axe = None
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    # Chromium's own threads end after the test.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
# Where a person wants to look at the pages: EDGE_MALARIA_SHOTS names a folder.
SHOTS = os.environ.get("EDGE_MALARIA_SHOTS", "")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    with process(folder / "data", "--source", SIM, log=folder / "log") as (_, where):
        yield where


def look(page: playwright.Page, name: str, width: int) -> None:
    """No rule of axe-core that matters is broken; keeps a picture where somebody wants one."""
    page.wait_for_load_state()
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{width}-{name}.png", full_page=True)
    fits(page, width)
    if Axe is None:
        return
    looked = Axe().run(page).response
    assert len(looked["passes"]) > 5
    found = looked["violations"]
    faults = [
        (name, fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]][:3])
        for fault in found
        if fault["impact"] in ("serious", "critical", "moderate")
    ]
    assert faults == []


def fits(page: playwright.Page, width: int) -> None:
    """Nothing stands out to the right: nobody scrolls sideways."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [(360, 740, "dark"), pytest.param(1280, 900, "light", marks=pytest.mark.long)],
)
def test_a_slide_from_its_making_to_its_documents(
    address: str, width: int, height: int, scheme: str, tmp_path: Path
) -> None:
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
        )
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        elsewhere: list[str] = []
        page.on("request", lambda r: elsewhere.append(r.url))
        walk(page, address, width, tmp_path)
        # The page that is not there answers 404.
        assert [text for text in troubles if "404" not in text] == []
        assert [url for url in elsewhere if not url.startswith(address)] == []
        browser.close()


def walk(page: playwright.Page, address: str, width: int, tmp_path: Path) -> None:
    for name in ("users", "audit", "slides/none"):
        page.goto(f"{address}/{name}")
        look(page, name.replace("/", "-"), width)
    page.goto(address)
    look(page, "worklist", width)
    page.get_by_role("link", name="New slide").first.click()
    page.get_by_label("The sample's code").fill(f"A-{width}")
    page.get_by_label("Who reads").fill("Amina")
    page.get_by_label("haematocrit").check()
    page.get_by_label("Measured value").fill("41.5")
    look(page, "new", width)
    # An impatient thumb makes no second slide, and starts none twice.
    page.get_by_role("button", name="Make the slide").dblclick()
    page.get_by_role("button", name="Start").wait_for()
    look(page, "ready", width)
    page.get_by_role("button", name="Start").dblclick()
    page.locator(".frame[src]").or_(page.get_by_role("heading", name="What to do now")).wait_for()
    look(page, "live", width)
    # The drawn slide ends by itself; a camera's is finished by the button.
    page.get_by_role("heading", name="What to do now").wait_for(timeout=120_000)
    look(page, "result", width)
    page.get_by_role("link", name="Look at the flagged cells").click()
    judge(page, width)
    page.get_by_role("heading", name="What to do now").wait_for()
    look(page, "judged", width)
    page.get_by_role("link", name="All fields with their boxes").click()
    page.get_by_role("link", name="1", exact=True).click()
    look(page, "field", width)
    page.get_by_role("link", name="To the result").click()
    page.get_by_label("I looked at this result").check()
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_text("Final. Signed by Amina").wait_for()
    look(page, "signed", width)
    documents(page, tmp_path)
    page.get_by_role("link", name="Slides", exact=True).click()
    page.get_by_role("link", name=f"A-{width}").wait_for()
    assert page.get_by_role("link", name=f"A-{width}").count() == 1


def judge(page: playwright.Page, width: int) -> None:
    """The first two cells hold a parasite, the others do not, by thumb and by key."""
    look(page, "review", width)
    image = page.locator(".stage img")
    assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") >= 96
    # The keys lie below the thumb without a move of the page.
    low = page.locator(".keys").bounding_box()
    assert low is not None
    assert low["y"] + low["height"] <= page.viewport_size["height"]
    total = int(page.locator("progress").get_attribute("max") or 0)
    assert total >= 4
    for number in range(total):
        page.get_by_role("heading", name="Does this cell hold a parasite?").wait_for()
        seen = page.url
        if number % 2:
            page.keyboard.press("n" if number > 1 else "p")
        else:
            name = "No parasite" if number > 1 else "Parasite"
            page.get_by_role("button", name=f"{name} ", exact=False).first.click()
        page.wait_for_url(lambda url, seen=seen: url != seen)


def documents(page: playwright.Page, tmp_path: Path) -> None:
    found: dict[str, Path] = {}
    for name in ("PDF", "FHIR", "All cells", "decisions"):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=name).click()
        found[name] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(found[name])
    assert found["PDF"].read_bytes().startswith(b"%PDF-")
    bundle = json.loads(found["FHIR"].read_text())
    kinds = {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle["entry"]}
    assert kinds["DiagnosticReport"]["status"] == "final"
    assert found["All cells"].read_text().startswith("field,index,x0")
    rows = found["decisions"].read_text().splitlines()
    said = [row.split(",")[7] for row in rows[1:]]
    assert said[:2] == ["parasite", "parasite"]
    assert set(said[2:]) == {"no-parasite"}
