"""Takes out of text what names a person, a sample or a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

REMOVED = "[removed]"
# Alternatives of one expression; more would take seconds to build.
_A_CHUNK = 500
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Hashes of passwords, in the form that argon2 and crypt write.
        r"\$[a-z0-9-]+\$\S+",
        r"(?:password|passwd|pass|token|secret|authorization|cookie|csrf|api[_-]?key)"
        r"[\"']?\s*[=:]\s*(?:bearer\s+|basic\s+)?\S+",
        r"\b(?:bearer|basic)\s+[a-z0-9+/=._-]{6,}",
        r"-----BEGIN [^-]+-----[\s\S]*?(?:-----END [^\n]*|\Z)",
        # User and password inside an address; e-mail addresses.
        r"(?<=://)[^/\s@]+@",
        r"[\w.+-]+@[\w-]+\.[\w.-]+",
        # Session tokens and hashes; addresses of machines.
        r"\b[0-9a-f]{32,}\b",
        r"\b(?!127\.0\.0\.1\b|0\.0\.0\.0\b)(?:\d{1,3}\.){3}\d{1,3}\b",
        r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b",
        r"(?<=/home/)[^/\s]+",
        r"\b\d{8}-\d{6}-[0-9a-f]{6}\b",
    )
)
# Texts of a configuration that name nobody; of all others the length alone is told.
_PLAIN_KEYS = frozenset({"language", "fourcc", "kind", "since"})


class Redactor:
    """Removes known names and codes, and whatever looks like a secret.

    Args:
        known: names of persons, codes of samples, hashes: removed wherever they stand as words,
            in capitals or not.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        words = {" ".join(word.split()) for word in known} - {"", "-"}
        # The longest first: a name may stand within another one.
        ordered = sorted(words, key=lambda word: (-len(word), word))
        self._known = [
            re.compile(
                r"(?<!\w)(?:" + "|".join(map(_loose, ordered[at : at + _A_CHUNK])) + r")(?!\w)",
                re.IGNORECASE,
            )
            for at in range(0, len(ordered), _A_CHUNK)
        ]
        self._sure = [word.casefold() for word in ordered if len(word) >= 4]

    def clean(self, text: str) -> str:
        """The text without them."""
        for pattern in (*self._known, *_PATTERNS):
            text = pattern.sub(REMOVED, text)
        # Where a name is part of a longer word, the word goes.
        for word in self._sure:
            if word in text.casefold():
                text = re.sub(rf"\S*{_loose(word)}\S*", REMOVED, text, flags=re.IGNORECASE)
        return text

    def settings(self, value: Any, key: str = "") -> Any:
        """A configuration's values: numbers stay, of texts the length, but for harmless keys."""
        if isinstance(value, Mapping):
            return {self.clean(str(k)): self.settings(v, str(k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.settings(item, key) for item in value]
        if isinstance(value, bool | int | float):
            return value
        text = str(value)
        return self.clean(text) if key in _PLAIN_KEYS else f"<{len(text)} letters>"


def _loose(word: str) -> str:
    """The word, with any blanks, underscores or signs where it has blanks."""
    return r"[\s_+%.-]{1,4}".join(re.escape(part) for part in word.split())
