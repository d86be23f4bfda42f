"""Figures in documents come from docs/evidence: each is followed by a comment that says where.

``0.9390<!--model:test.accuracy:.4f-->`` is the value at ``test.accuracy`` of
docs/evidence/model.json in the format ``.4f``. ``--write`` puts today's values in; without it the
script lists what differs and exits 1. A test runs it, so no document can drift.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CHANGELOG.md", "docs/*.md", "docs/*.html")
_FIGURE = re.compile(
    r"(?P<shown>[-+0-9.,%e]+|—)"
    r"<!--(?P<file>[\w-]+):(?P<path>[^:>]+?)(?::(?P<format>[^>:]+))?-->"
)


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path; list indices are numbers, keys may hold dots themselves.

    Raises:
        KeyError: no such path.
    """
    if not path:
        return document
    words = path.split(".")
    if isinstance(document, list):
        return value_at(document[int(words[0])], ".".join(words[1:]))
    for count in range(1, len(words) + 1):
        key = ".".join(words[:count])
        if key in document:
            return value_at(document[key], ".".join(words[count:]))
    raise KeyError(path)


def shown(value: Any, spec: str | None) -> str:
    """A value as documents show it; null becomes a dash."""
    return "—" if value is None else format(value, spec or "")


def updated(text: str, evidence: Path) -> str:
    """``text`` with every figure replaced by today's value."""

    def replace(match: re.Match[str]) -> str:
        document = json.loads((evidence / f"{match['file']}.json").read_text(encoding="utf-8"))
        now = shown(value_at(document, match["path"]), match["format"])
        return now + match.group(0)[len(match["shown"]) :]

    return _FIGURE.sub(replace, text)


def main() -> int:
    """Checks or writes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put today's values in")
    write = parser.parse_args().write
    stale, count = [], 0
    for pattern in DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            count += len(_FIGURE.findall(text))
            now = updated(text, ROOT / "docs" / "evidence")
            if now != text:
                stale.append(path.relative_to(ROOT).as_posix())
                if write:
                    path.write_text(now, encoding="utf-8")
    print(f"{count} figures; {'rewrote' if write else 'stale'}: {', '.join(stale) or 'none'}")
    return 1 if (stale and not write) or not count else 0


if __name__ == "__main__":
    sys.exit(main())
