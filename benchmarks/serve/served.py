"""Starts the real ``serve`` command and speaks with it as a browser does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

_START_S = 120.0


@contextmanager
def process(
    data: Path,
    *options: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command as a process of its own, and its address; ended by SIGTERM."""
    running = started(data, *options, log=log, environment=environment, without=without)
    try:
        yield running, address_of(running, log)
    finally:
        if running.poll() is None:
            running.terminate()
        running.wait(60)


def started(
    data: Path,
    *options: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    """The command, just started on a free port; whoever asks for it ends it.

    Args:
        data: the data folder.
        options: of ``serve``.
        log: what the command says goes there.
        environment: more of it.
        without: packages that are hidden from it, as a device does not have them.
    """
    hidden = f"sys.modules.update(dict.fromkeys({list(without)!r}))"
    main = "runpy.run_module('edge_malaria.cli.app', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", f"import runpy, sys; {hidden}; {main}", "serve"]
    command += ["--data", str(data)]
    # Runs may lie on disks that forget; that such a disk is refused is tested elsewhere.
    values = {**os.environ, "EDGE_MALARIA_FORGETFUL_DISK": "1", **(environment or {})}
    with log.open("wb") as out:
        return subprocess.Popen(
            [*command, "--port", "0", *options],
            stdout=out,
            stderr=out,
            env=values,
            # A shell's background job starts with SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def address_of(running: subprocess.Popen[bytes], log: Path) -> str:
    """Where its pages are, once it listens.

    Raises:
        AssertionError: it ended, or did not start in time; says its log.
    """
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        found = re.search(r"(https?://\S+:\d+)/", log.read_text(errors="replace"))
        if found:
            return found.group(1)
        if running.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(log.read_text(errors="replace"))


class Browser:
    """Keeps cookies, sends each form with its page's token.

    Args:
        client: of one address.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def get(self, path: str, *, code: int = 200) -> httpx.Response:
        """A page.

        Raises:
            AssertionError: another status than ``code``.
        """
        answer = self.client.get(path, headers={"Accept": "text/html"})
        return _expected(path, answer, code)

    def token(self, path: str = "/sign-in") -> str:
        """The token of this browser's forms."""
        answer = self.client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text)
        if found is None:
            raise AssertionError(answer.text)
        return found.group(1)

    def post(self, path: str, code: int = 303, **fields: str) -> httpx.Response:
        """A form; by default it leads on.

        Raises:
            AssertionError: another status than ``code``.
        """
        data = {"csrf": self.token(), **fields}
        return _expected(path, self.client.post(path, data=data), code)

    def sign_in(self, name: str, password: str) -> None:
        """Signs in."""
        answer = self.post("/sign-in", name=name, password=password)
        if answer.headers["location"] != "/":
            raise AssertionError(answer.headers["location"])

    def read_slide(self, **fields: str) -> str:
        """Makes a slide, has it read to its end, and returns its address ("/slides/ID").

        Raises:
            RuntimeError: it was not read within five minutes.
        """
        where = str(self.post("/new", 303, **fields).headers["location"])
        self.post(f"{where}/start")
        end = time.monotonic() + 300
        while self.client.get(f"{where}/live").json()["state"] != "finished":
            if time.monotonic() > end:
                raise RuntimeError("the slide was not read")
            time.sleep(0.1)
        return where


def _expected(path: str, answer: httpx.Response, code: int) -> httpx.Response:
    if answer.status_code != code:
        raise AssertionError(f"{path}: {answer.status_code} {answer.text[-3000:]}")
    return answer
