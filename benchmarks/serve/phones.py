"""Phones that look on: each follows the live page as its script does, and loads pages anew."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2 as httpx

# page.js asks each second; somebody opens another page now and then.
_EVERY_S, _PAGE_EVERY = 1.0, 10


def follow(address: str, where: str, over: threading.Event) -> None:
    """One phone, until it is told to stop."""
    with httpx.Client(base_url=address, timeout=60) as client:
        shown = 0
        for number in itertools.count():
            if over.wait(_EVERY_S):
                return
            try:
                values = client.get(f"{where}/live").json()
                if values.get("frame", 0) != shown:
                    shown = values["frame"]
                    client.get(f"{where}/frame.jpg")
                if number % _PAGE_EVERY == 0:
                    client.get(where, headers={"Accept": "text/html"})
                    client.get("/", headers={"Accept": "text/html"})
            except httpx.HTTPError:
                continue


@contextmanager
def looking_on(phones: int, address: str, where: str) -> Iterator[None]:
    """So many phones in a process of their own, as long as it lasts."""
    command = [sys.executable, "-m", "benchmarks.serve.phones", str(phones), address, where]
    running = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        running.communicate(b"over\n", timeout=60)


def main() -> None:
    """Follows until standard input says something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phones", type=int)
    parser.add_argument("address")
    parser.add_argument("where")
    given = parser.parse_args()
    over = threading.Event()
    threads = [
        threading.Thread(target=follow, args=(given.address, given.where, over), daemon=True)
        for _ in range(given.phones)
    ]
    for thread in threads:
        thread.start()
        time.sleep(_EVERY_S / given.phones)
    sys.stdin.readline()
    over.set()
    for thread in threads:
        thread.join(10)


if __name__ == "__main__":
    main()
