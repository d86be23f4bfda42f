"""How much each page weighs, and how long a first view takes over 1 Mbit/s -> page_weight.json.

    python -m benchmarks.serve.page_weight

One finished slide of drawn cells. A page is weighed with its style, script and icon and without
pictures. The first view is computed from what crosses the line, and, where chromium is installed,
timed in it with the line slowed down (DevTools' network conditions: 1 Mbit/s, 40 ms).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.evidence_file import write_evidence
from benchmarks.serve.served import Browser, process

SOURCE = "sim:parasitemia=0.06,fields=4,seed=3,width=640,height=480"
LIMIT_BYTES, LIMIT_S = 150_000, 1.0
LINE_BITS_PER_S, DELAY_S = 1_000_000, 0.040
_SHARED = ("/static/style.css", "/static/page.js", "/static/icon.svg")
# One for the connection, one for the page, one for what it names.
_ROUND_TRIPS = 3


def crossing(answer: httpx.Response) -> int:
    """Bytes of an answer on the line: its head and its body."""
    head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
    return head + len(answer.content) + 40


def weigh(folder: Path) -> dict[str, Any]:
    """Every page of one finished slide, in an empty folder."""
    with (
        process(folder / "data", "--source", SOURCE, log=folder / "log") as (_, address),
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        browser = Browser(client)
        where = browser.read_slide(sample="W-1", reader="Amina")
        browser.post(f"{where}/who", reader="Amina")
        shared = sum(crossing(client.get(path)) for path in _SHARED)
        paths = {
            "worklist": "/",
            "new": "/new",
            "result": where,
            "review": f"{where}/review?cell=0",
            "fields": f"{where}/fields",
            "field": f"{where}/fields/0",
            "users": "/users",
            "audit": "/audit",
            "outbox": "/outbox",
        }
        pages = {name: crossing(browser.get(path)) for name, path in paths.items()}
        shown = _in_chromium(address, {name: paths[name] for name in ("worklist", "result")})
    return {
        "line_bits_per_s": LINE_BITS_PER_S,
        "delay_s": DELAY_S,
        "style_script_icon_bytes": shared,
        "page_bytes": pages,
        "first_view_s": {name: _computed_s(shared + size) for name, size in pages.items()},
        "in_chromium_s": shown,
    }


def _computed_s(size: int) -> float:
    return round(8 * size / LINE_BITS_PER_S + _ROUND_TRIPS * DELAY_S, 3)


def _in_chromium(address: str, paths: dict[str, str]) -> dict[str, float] | str:
    """Until a page and its style are there, with nothing kept from before; s."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "not run: no chromium"
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, path in paths.items():
            context = browser.new_context()
            page = context.new_page()
            line = context.new_cdp_session(page)
            line.send("Network.enable")
            bytes_per_s = LINE_BITS_PER_S / 8
            line.send(
                "Network.emulateNetworkConditions",
                {
                    "offline": False,
                    "latency": 1000 * DELAY_S,
                    "downloadThroughput": bytes_per_s,
                    "uploadThroughput": bytes_per_s,
                },
            )
            page.goto(f"{address}{path}", wait_until="load")
            ms = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
            found[name] = round(float(ms) / 1000, 3)
            context.close()
        browser.close()
    return found


def passed(figures: dict[str, Any]) -> bool:
    """Whether every page is light enough, and its first view quick enough by what it weighs.

    Chromium's times stand beside it: they also hold what this machine had to do meanwhile.
    """
    shared = figures["style_script_icon_bytes"]
    light = all(shared + size <= LIMIT_BYTES for size in figures["page_bytes"].values())
    return light and all(seconds <= LIMIT_S for seconds in figures["first_view_s"].values())


def main() -> int:
    """Measures and writes the evidence; 1 where a page is too heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = weigh(Path(folder))
    print(json.dumps(figures, indent=1))
    if not options.dry:
        command = "python -m benchmarks.serve.page_weight"
        write_evidence("page_weight", command, {"passed": passed(figures), **figures})
    return 0 if passed(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
