"""Words of the command line that no command can mean: empty ones, and devices for files.

An empty word is a variable of a script that was never set; as a path it would be the folder one
stands in. A device, a socket or a pipe that nobody writes into never ends when it is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from edge_malaria.errors import UsageError

_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
}
# Where a shell's <(command) and a pipe's own end lie: somebody writes there.
_OF_THE_SHELL = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


def check_words(words: Sequence[str]) -> None:
    """Asked before the words are parsed.

    Raises:
        UsageError: one of them is empty, or names a device, a socket or a pipe.
    """
    for word in words:
        name, given, value = word.partition("=")
        if not (name.startswith("--") and given):
            name, value = "an argument", word
        if not value.strip():
            raise UsageError(f"{name} is empty. Is a variable of your script not set?")
        kind = _kind(value)
        if kind == "a pipe" and value.startswith(_OF_THE_SHELL):
            continue
        if kind:
            hint = " A camera is camera:0." if value.startswith("/dev/video") else ""
            raise UsageError(f"{value} is {kind}, expected a file or a folder.{hint}")


def _kind(value: str) -> str:
    """What special file ``value`` names; "" for none."""
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(value).st_mode), "")
    except (OSError, ValueError):
        return ""
