"""A disk that fills while a slide is read and while a person decides; then there is room again."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.serve.served import Browser, process
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.store.database import NAME as DATABASE

SOURCE = "sim:parasitemia=0.06,fields=30,seed=5,width=480,height=360"
# The server begins no slide with less than 100 MB.
_DISK_MB = 192
_WAIT_S = 240.0


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, str]]:
    """A disk of its own with 192 MB, and what it is: ext4 in a file, else one in memory.

    Raises:
        RuntimeError: this user may mount neither.
    """
    where, image = folder / "disk", folder / "disk.img"
    where.mkdir()
    with image.open("wb") as handle:
        handle.truncate(_DISK_MB << 20)
    ways = (
        ("ext4", [["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, where]]),
        ("tmpfs", [["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "none", where]]),
    )
    for kind, commands in ways:
        if all(_runs([str(word) for word in command]) for command in commands):
            try:
                yield where, kind
            finally:
                subprocess.run(["umount", str(where)], check=True)
            return
    raise RuntimeError("this user may mount no disk of its own")


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _fill(path: Path) -> None:
    """Leaves no block free; takes blocks unwritten, before the slide can end."""
    step, size = 1 << 26, 0
    with path.open("ab", buffering=0) as handle:
        while step >= 1:
            try:
                os.posix_fallocate(handle.fileno(), size, step)
                size += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 4


def disk_full(folder: Path) -> dict[str, Any]:
    """Fills the disk twice and says what stood.

    Args:
        folder: an empty one; this user has to be allowed to mount.
    """
    try:
        with small_disk(folder) as (disk, kind):
            figures = _filled(disk, folder)
    except RuntimeError as error:
        return {"passed": False, "not_run": str(error)}
    good = (
        figures["ended"] == "paused"
        and figures["told_in_words"]
        and figures["fields_lost"] == 0
        and figures["decision_refused_with"] == 507
        and figures["decisions_lost"] == 0
        and figures["database"] == "ok"
        and figures["as_if_never_full"]
    )
    return {"passed": good, "disk": f"{kind}, {_DISK_MB} MB", **figures}


def _filled(disk: Path, folder: Path) -> dict[str, Any]:
    data, ballast = disk / "data", disk / "ballast"
    with (
        process(data, "--source", SOURCE, log=folder / "log") as (_, address),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        browser = Browser(client)
        where = browser.post("/new", sample="F-1", reader="Amina").headers["location"]
        slide = data / "slides" / where.rpartition("/")[2]
        browser.post(f"{where}/start")
        shown = _until_fields(client, where, 3)
        _fill(ballast)
        ended = _until_over(client, where)
        page = client.get(where, follow_redirects=True).text
        kept = _fields(slide)
        healthy = client.get("/healthz").status_code
        ballast.unlink()
        browser.post(f"{where}/start")
        _until_over(client, where)
        going_on = _fields(slide)
        browser.post(f"{where}/who", reader="Amina")
        said = [_decide(browser, where, 303) for _ in range(3)]
        _fill(ballast)
        refused, tries = 0, 0
        # A line may still fit into the journal's last block.
        while refused != 507 and tries < 200:
            tries += 1
            key, refused = _decide(browser, where, 0)
            said += [(key, refused)] if refused == 303 else []
        ballast.unlink()
        said.append(_decide(browser, where, 303))
        cells = client.get(f"{where}/cells.csv").content
    kept_decisions = _decisions(slide)
    with sqlite3.connect(data / DATABASE) as connection:
        whole = connection.execute("PRAGMA quick_check").fetchone()[0]
    connection.close()
    return {
        "ended": ended,
        "told_in_words": "disk full" in page or "Free some space" in page,
        "healthz_while_full": healthy,
        "fields_shown_before": shown,
        "fields_lost": max(0, shown - len(kept)) + (going_on[: len(kept)] != kept),
        "decisions_said": len(said),
        "decision_refused_with": refused,
        "decisions_lost": sum(key not in kept_decisions for key, _ in said),
        "database": whole,
        "as_if_never_full": cells == _whole(folder),
    }


def _until_fields(client: httpx.Client, where: str, wanted: int) -> int:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        now = client.get(f"{where}/live").json()
        found = int(re.sub(r"\D", "", now.get("fields", "0")) or 0)
        if found >= wanted or now["state"] != "running":
            return found
        time.sleep(0.01)
    raise RuntimeError("no field was read")


def _until_over(client: httpx.Client, where: str) -> str:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        state = str(client.get(f"{where}/live").json()["state"])
        if state != "running":
            return state
        time.sleep(0.05)
    return "running"


def _decide(browser: Browser, where: str, code: int) -> tuple[str, int]:
    """One decision on the first cell without one: its key, and the answer's status."""
    page = browser.client.get(f"{where}/review", follow_redirects=True).text
    key = re.search(r'name="key" value="([^"]+)"', page)
    cell = re.search(r'name="cell" value="(\d+)"', page)
    if key is None or cell is None:
        raise RuntimeError("no cell is left to decide on")
    form = {"cell": cell.group(1), "key": key.group(1), "decision": "unsure"}
    answer = browser.client.post(f"{where}/decide", data={"csrf": browser.token(), **form})
    if code and answer.status_code != code:
        raise RuntimeError(f"{answer.status_code}: {answer.text[-2000:]}")
    return key.group(1), answer.status_code


def _fields(slide: Path) -> list[str]:
    """The journal's fields, read beside the server: whole lines alone."""
    import json

    found = []
    for line in (slide / "journal.jsonl").read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            document = json.loads(line)
            if "field" in document and "cells" in document:
                found.append(str(document["field"]))
    return found


def _decisions(slide: Path) -> set[str]:
    journal = Journal(slide, resume=True)
    try:
        return {f"{line.index}@{line.field}" for line in journal.reviews()}
    finally:
        journal.close()


def _whole(folder: Path) -> bytes:
    out = folder / "whole"
    command = ["-m", "edge_malaria.cli.app", "screen", SOURCE, "-o", str(out)]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    cells = (out / "cells.csv").read_bytes()
    shutil.rmtree(out)
    return cells
