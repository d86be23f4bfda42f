"""Starts the real command and speaks with it as a browser does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

from tests.cli import hear_ctrl_c

# A drawn slide of a few small fields: seconds on a busy machine.
SIM = "sim:parasitemia=0.05,fields=6,seed=3,width=640,height=480"


@contextmanager
def process(
    data: Path, *options: str, log: Path, environment: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command as a process of its own, and its address; ended by SIGTERM."""
    command = [sys.executable, "-m", "edge_malaria.cli.app", "serve", "--data", str(data)]
    words = [*command, "--port", "0", *options]
    # Tests run on disks that may forget; that such a disk is refused is tested elsewhere.
    values = {**os.environ, "EDGE_MALARIA_FORGETFUL_DISK": "1", **(environment or {})}
    with log.open("wb") as out:
        running = subprocess.Popen(words, stderr=out, env=values, preexec_fn=hear_ctrl_c)
        try:
            yield running, _address(running, log)
        finally:
            if running.poll() is None:
                running.terminate()
            running.wait(60)


def _address(running: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        text = log.read_text(errors="replace")
        found = re.search(r"(https?://\S+:\d+)/", text)
        if found:
            return found.group(1)
        assert running.poll() is None, text
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))


class Browser:
    """Keeps cookies, sends each form with its page's token."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def get(self, path: str, *, code: int = 200) -> httpx.Response:
        """A page."""
        answer = self.client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text[-3000:]}"
        return answer

    def token(self, path: str = "/sign-in") -> str:
        """The token of this browser's forms."""
        text = self.client.get(path, headers={"Accept": "text/html"}, follow_redirects=True).text
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
        assert found, text
        return found.group(1)

    def post(self, path: str, code: int = 303, **fields: str) -> httpx.Response:
        """A form; by default it leads on."""
        data = {"csrf": self.token(), **fields}
        answer = self.client.post(path, data=data)
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text[-3000:]}"
        return answer

    def sign_in(self, name: str, password: str) -> None:
        """Signs in."""
        answer = self.post("/sign-in", name=name, password=password)
        assert answer.headers["location"] == "/"
