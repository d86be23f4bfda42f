"""Somebody who works on slides through the pages, and remembers what the server said it took."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import httpx2 as httpx

from benchmarks.serve.served import Browser

Word = Literal["parasite", "no-parasite", "unsure"]


@dataclass
class Remembered:
    """What a person knows of one slide.

    Attributes:
        where: its page.
        fields: the most that the live view showed.
        decisions: (cell's key, word, whether the server said that it took it), in order.
        signed: whether the server said that it is signed.
    """

    where: str
    fields: int = 0
    decisions: list[tuple[str, str, bool]] = field(default_factory=list)
    signed: bool = False

    @property
    def slide(self) -> str:
        """Its id."""
        return self.where.rpartition("/")[2]


class Person:
    """Reads, reviews and signs slides one after the other; goes on where a power cut came.

    Args:
        name: under which decisions are taken.
        source: of the slides, as the server was told it.
    """

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source
        self.slides: list[Remembered] = []
        self._browser: Browser | None = None

    def meet(self, address: str) -> httpx.Client:
        """Comes to a server that was started anew."""
        client = httpx.Client(base_url=address, timeout=60)
        self._browser = Browser(client)
        return client

    @property
    def done(self) -> bool:
        """Whether every slide so far is signed."""
        return all(one.signed for one in self.slides)

    def step(self, *, new: bool = True) -> None:
        """The next thing to do; the server may be killed at any moment.

        Args:
            new: a new slide may be begun.

        Raises:
            httpx.TransportError: the server is gone.
            AssertionError: it refused what it should have done.
        """
        browser = self._met()
        open_ones = [one for one in self.slides if not one.signed]
        if not open_ones:
            if new:
                made = browser.post("/new", sample="K-1", reader=self._name, source=self._source)
                self.slides.append(Remembered(made.headers["location"]))
            return
        slide = open_ones[0]
        now = browser.client.get(f"{slide.where}/live").json()
        if now["state"] == "running":
            slide.fields = max(slide.fields, int(re.sub(r"\D", "", now["fields"])))
        elif now["state"] in ("new", "paused"):
            browser.post(f"{slide.where}/start")
        elif now["state"] == "finished":
            self._judge(slide)
        elif now["state"] == "signed":
            # The answer was cut off: the signature stands.
            slide.signed = True

    def _met(self) -> Browser:
        if self._browser is None:
            raise RuntimeError("meet a server first")
        return self._browser

    def _judge(self, slide: Remembered) -> None:
        """One decision, or the signature once there is nothing to decide."""
        browser = self._met()
        page = browser.client.get(f"{slide.where}/review", follow_redirects=True).text
        if 'action="/slides' in page and f"{slide.where}/who" in page:
            browser.post(f"{slide.where}/who", reader=self._name)
            return
        key = re.search(r'name="key" value="([^"]+)"', page)
        cell = re.search(r'name="cell" value="(\d+)"', page)
        if key is None or cell is None:
            browser.post(f"{slide.where}/sign", agree="yes", reader="Sam")
            slide.signed = True
            return
        word: Word = "parasite" if len(slide.decisions) % 3 == 0 else "no-parasite"
        slide.decisions.append((key.group(1), word, False))
        browser.post(f"{slide.where}/decide", cell=cell.group(1), key=key.group(1), decision=word)
        slide.decisions[-1] = (key.group(1), word, True)
