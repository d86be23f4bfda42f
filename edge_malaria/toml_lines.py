"""On which line of a TOML file a key stands: the standard library's reader does not say."""

from __future__ import annotations

import re

_TABLE = re.compile(r"\s*\[(?P<many>\[)?\s*(?P<name>[\w.-]+)\s*\]")
_KEY = re.compile(r"\s*(?P<name>[\w.-]+|\"[^\"]*\"|'[^']*')\s*=")


class TomlLines:
    """The lines of a file's tables and keys, for messages to a person.

    Text of several lines that looks like keys may mislead it; values are never taken from here.

    Args:
        text: of the file.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, str], int] = {}
        table = ""
        times: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            head, key = _TABLE.match(line), _KEY.match(line)
            if head:
                name = head["name"]
                if head["many"]:
                    times[name] = times.get(name, -1) + 1
                    table = f"{name}.{times[name]}"
                else:
                    first, dot, rest = name.partition(".")
                    # A table below the latest one of a list.
                    table = f"{first}.{times[first]}{dot}{rest}" if first in times else name
                self._lines.setdefault((table, ""), number)
            elif key:
                self._lines.setdefault((table, key["name"].strip("\"'")), number)

    def of(self, table: str, key: str = "") -> int:
        """The line of a key; of its table where the key is not there; else 1.

        Args:
            table: "" for the top, ``name`` for [name], ``name.0`` for the first [[name]].
            key: in it, "" for the table itself.
        """
        return self._lines.get((table, key)) or self._lines.get((table, "")) or 1
