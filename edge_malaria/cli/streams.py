"""Standard streams that never end finished work: closed ones, dead terminals, national code pages.

stderr is log: what it cannot take is dropped. stdout is data: what its code page lacks is written
in ASCII, and a failure to write stays an error, told after the work is done.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, TextIO

# What texts of this package hold beside ASCII, in ASCII; everything else becomes an escape.
_ASCII = {
    "\u00b5": "u", "\u03bc": "u", "\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00d7": "x",
    "\u2192": "->", "\u2264": "<=", "\u2265": ">=", "\u00b1": "+-", "\u00b2": "2", "\u00b7": ".",
    "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2500": "-", "\u2501": "-", "\u2502": "|",
}  # fmt: skip
_FALLBACK = "edge-malaria-ascii"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    shown = (_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in part)
    return "".join(shown), error.end


class LogStream(io.TextIOBase):
    """stderr whose failures are nobody's business: its terminal may be gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The code page, for whoever draws boxes."""
        return self._stream.encoding

    def fileno(self) -> int:
        """The stream's own."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether somebody looks at it."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Writes what can be written."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Flushes what can be flushed."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def steady_streams() -> None:
    """Makes sys.stdout and sys.stderr usable, whatever the caller left of them."""
    # A closed 0, 1 or 2 would go to the next file that is opened, such as the journal, and what a
    # library prints would be written into it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    codecs.register_error(_FALLBACK, _in_ascii)
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None or stream.closed:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- for the whole run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_FALLBACK)
        if name == "stderr" and not isinstance(stream, LogStream):
            stream = LogStream(stream)  # type: ignore[assignment]
        setattr(sys, name, stream)
