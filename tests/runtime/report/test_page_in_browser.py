"""The report's page in a real browser, on the narrowest phone: nobody scrolls sideways."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_malaria.runtime.report.write import report_again
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.words.language import LANGUAGES

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    # Chromium's own threads end after the test.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_it_fits_360_px_in_every_language(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    directory = tmp_path / "slide"
    shutil.copytree(whole[0], directory)
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for language in LANGUAGES:
            journal = Journal(directory, resume=True)
            report_again(directory, journal, language)
            journal.close()
            page = browser.new_page(viewport={"width": 360, "height": 740})
            page.goto((directory / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, language
            # A tap on a cell leads to its field in full resolution, with the cell marked.
            page.locator("#cells figure a").first.click()
            image = page.locator(".field img")
            assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") == 640
            assert page.locator(".cell:target").count() == 1
            page.close()
        browser.close()
