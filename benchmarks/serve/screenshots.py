"""Takes the two pictures of README and SERVE.md: the live page and a flagged cell, at 360 px.

    python -m benchmarks.serve.screenshots -o docs/serve

The cells are drawn (``sim:``); no real one is ever shown. Chromium must be on the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
from playwright.sync_api import Page, sync_playwright

from benchmarks.serve.served import process

SOURCE = "camera:sim:parasitemia=0.05,fields=30,seed=3,width=1280,height=960,hold=6,noise=1"
_WIDTH, _HEIGHT = 360, 740
# Both together stay far below what a page of the project may weigh.
MOST_BYTES = 150_000


def take(out: Path, work: Path) -> list[Path]:
    """Takes both and returns their paths."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no chromium on this machine: sudo apt install chromium")
    os.environ["EDGE_MALARIA_FORGETFUL_DISK"] = "1"
    out.mkdir(parents=True, exist_ok=True)
    with (
        process(work / "data", "--source", SOURCE, log=work / "log") as (_, address),
        sync_playwright() as tool,
    ):
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": _WIDTH, "height": _HEIGHT}, locale="en-GB", color_scheme="light"
        )
        made = _walk(page, address, out, work)
        browser.close()
    return made


def _walk(page: Page, address: str, out: Path, work: Path) -> list[Path]:
    page.goto(f"{address}/new")
    page.get_by_label("The sample's code").fill("A-17")
    page.get_by_label("Who reads").fill("Amina")
    page.get_by_role("button", name="Make the slide").click()
    page.get_by_role("button", name="Start").click()
    # Enough cells for an interval. The pages' policy lets no script of ours wait for it.
    for _ in range(1200):
        text = page.locator("[data-value=cells]").text_content() or ""
        if int("".join(filter(str.isdigit, text)) or 0) > 400:
            break
        page.wait_for_timeout(100)
    live = _shot(page, work / "live.png", out / "live.jpg")
    page.get_by_role("button", name="Finish").click()
    page.get_by_role("heading", name="What to do now").wait_for(timeout=120_000)
    page.get_by_role("link", name="Look at the flagged cells").click()
    page.locator(".stage img").evaluate("i => i.decode()")
    return [live, _shot(page, work / "review.png", out / "review.jpg")]


def _shot(page: Page, raw: Path, target: Path) -> Path:
    page.screenshot(path=str(raw))
    cv2.imwrite(str(target), cv2.imread(str(raw)), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return target


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", type=Path, default=Path("docs/serve"))
    out = parser.parse_args().o
    with tempfile.TemporaryDirectory() as work:
        made = take(out, Path(work))
    size = sum(path.stat().st_size for path in made)
    print(f"{', '.join(map(str, made))}: {size / 1000:.0f} kB", file=sys.stderr)
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
