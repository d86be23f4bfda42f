"""Walks a slide through the pages of ``serve`` with the standard library alone.

    python walk_pages.py EDGE-MALARIA [PUSH.toml]

With ``PUSH.toml`` the slide is signed too, and its result sent to the targets of that file. Run by
the tests in environments that hold nothing else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path


def main() -> None:
    """The walk; an assertion fails where a page does not do what it should."""
    with tempfile.TemporaryDirectory() as folder:
        source = "sim:parasitemia=0.05,fields=2,seed=3,width=640,height=480"
        words = ["serve", "--data", f"{folder}/data", "--port", "0", "--source", source]
        push = sys.argv[2:]
        words += [word for file in push for word in ("--push", file)]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            values = {**os.environ, "EDGE_MALARIA_FORGETFUL_DISK": "1"}
            running = subprocess.Popen([sys.argv[1], *words], stderr=out, env=values)
            try:
                address = _address(log, running)
                urllib.request.urlopen(f"{address}/healthz", timeout=60).close()
                idle = _memory_mb(running.pid)
                assert not idle or idle <= 150, f"{idle} MB while nothing is done"
                walk(address, send=bool(push))
            finally:
                running.terminate()
                code = running.wait(60)
        assert code in (0, -15), (code, log.read_text())


def _address(log: Path, running: subprocess.Popen[bytes]) -> str:
    for _ in range(900):
        found = re.search(r"(http://\S+:\d+)/", log.read_text())
        if found:
            return found.group(1)
        assert running.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def _memory_mb(pid: int) -> int:
    """Resident memory; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found.group(1)) // 1000 if found else 0


def walk(address: str, *, send: bool) -> None:
    """Makes a slide, lets it be read, takes its documents; ``send``: signs it and waits."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(path: str) -> bytes:
        with browser.open(address + path, timeout=120) as answer:
            return bytes(answer.read())

    token = re.search(rb'name="csrf" value="([0-9a-f]+)"', get("/new"))
    assert token

    def post(path: str, **fields: str) -> str:
        data = urllib.parse.urlencode({"csrf": token.group(1).decode(), **fields}).encode()
        with browser.open(address + path, data, timeout=120) as answer:
            return str(answer.url).removeprefix(address)

    where = post("/new", sample="A-1", reader="Amina")
    post(f"{where}/start")
    for _ in range(600):
        page = get(where)
        if b"data-live" not in page:
            break
        time.sleep(0.2)
    assert b"verdict-card" in page, page.decode()
    assert get(f"{where}/report.pdf").startswith(b"%PDF-")
    assert b'"preliminary"' in get(f"{where}/report.fhir.json")
    assert b"edge_malaria_slides" in get("/metrics")
    post("/language", language="sw")
    assert b'<html lang="sw">' in get(where)
    if send:
        post(f"{where}/who", reader="Amina")
        _judge(lambda: get(f"{where}/review").decode(), lambda **f: post(f"{where}/decide", **f))
        post(f"{where}/sign", agree="yes", reader="Sam")
        _until_sent(lambda: get("/metrics").decode())
    print("sent" if send else "walked")


def _judge(review: Callable[[], str], decide: Callable[..., str]) -> None:
    """Says of every flagged cell that it is no parasite."""
    for _ in range(1000):
        page = review()
        key = re.search(r'name="key" value="([^"]+)"', page)
        number = re.search(r'name="cell" value="(\d+)"', page)
        if key is None or number is None:
            return
        decide(cell=number.group(1), key=key.group(1), decision="no-parasite")
    raise AssertionError("the flagged cells have no end")


def _until_sent(metrics: Callable[[], str]) -> None:
    for _ in range(300):
        waiting = re.findall(r"edge_malaria_outbox_waiting\{.*\} (\S+)", metrics())
        if waiting and not any(map(float, waiting)):
            return
        time.sleep(0.2)
    raise AssertionError(metrics())


if __name__ == "__main__":
    main()
