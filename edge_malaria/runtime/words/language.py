"""Languages: gettext catalogues read once, numbers and times as each language writes them.

Messages are English and stand in the code and the templates; ``catalogues/*/messages.po`` hold the
others. ``python -m tools.messages`` brings the catalogues up to date and compiles them, so that a
device needs no package for them: reports are written in every language by the base install.
"""

from __future__ import annotations

import gettext
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

# Each language's own name, as a person looks for it.
LANGUAGES: Mapping[str, str] = {
    "en": "English",
    "fr": "Français",
    "bn": "বাংলা",
    "sw": "Kiswahili",
    "pt": "Português",
}
DEFAULT = "en"


@dataclass(frozen=True)
class NumberForm:
    """How a language writes numbers (CLDR 46; a test compares with Babel's copy of it).

    Attributes:
        group: between groups of digits; decimal: before the fraction.
        pairs: whether groups above the last three digits have two (1,23,456).
    """

    group: str
    decimal: str
    pairs: bool = False


_FORMS = {
    "en": NumberForm(",", "."),
    "fr": NumberForm("\u202f", ","),
    "bn": NumberForm(",", ".", pairs=True),
    "sw": NumberForm(",", "."),
    "pt": NumberForm(".", ","),
}


def mark(message: str) -> str:
    """Marks a message for the catalogues; it is translated where it is shown."""
    return message


class Words:
    """One language.

    Args:
        language: a key of ``LANGUAGES``.
    """

    def __init__(self, language: str) -> None:
        self.language, self._form = language, _FORMS[language]
        self._catalogue = _catalogue(language)

    def say(self, message: str, **values: object) -> str:
        """The message in this language, with its values."""
        text = self._catalogue.gettext(message) if message else ""
        return text % values if values else text

    def count(self, one: str, many: str, n: int) -> str:
        """One of two messages, as ``n`` asks for in this language; ``n`` is its value."""
        return self._catalogue.ngettext(one, many, n) % {"n": self.number(n)}

    def number(self, value: float) -> str:
        """A number with this language's separators, at most 3 decimals, digits 0-9 everywhere."""
        return self._written(f"{abs(value):.3f}".rstrip("0").rstrip("."), value < 0)

    def decimal(self, value: float, digits: int) -> str:
        """A number with exactly so many decimals."""
        return self._written(f"{abs(value):.{digits}f}", value < 0)

    def _written(self, plain: str, negative: bool) -> str:
        whole, _, fraction = plain.partition(".")
        head, tail = whole[:-3], [whole[-3:]]
        size = 2 if self._form.pairs else 3
        while head:
            tail.insert(0, head[-size:])
            head = head[:-size]
        text = self._form.group.join(tail)
        sign = "-" * (negative and plain.strip("0.") != "")
        return f"{sign}{text}{self._form.decimal}{fraction}" if fraction else sign + text

    def share(self, value: float | None) -> str:
        """A share as a percentage with two figures that mean something; a dash for none."""
        if value is None:
            return "\u2013"
        value = 100 * value
        digits = max(0, min(4, 1 - math.floor(math.log10(abs(value))))) if value else 0
        text = f"{abs(value):.{digits}f}"
        text = text.rstrip("0").rstrip(".") if digits else text
        return f"{self._written(text, value < 0)}\u00a0%"

    def when(self, iso: str) -> str:
        """A time as year, month, day and minute in UTC; "" for none."""
        if not iso:
            return ""
        try:
            return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"
        except ValueError:
            return iso


@cache
def words_for(language: str) -> Words:
    """The language's words; English for one that is not known."""
    return Words(language if language in LANGUAGES else DEFAULT)


def negotiated(wanted: str, accepted: str) -> str:
    """The language of a visitor.

    Args:
        wanted: what the visitor chose before, "" for nothing.
        accepted: the browser's Accept-Language, the dearest first as browsers send it.
    """
    if wanted in LANGUAGES:
        return wanted
    for part in accepted.split(","):
        primary = part.partition(";")[0].strip().replace("_", "-").partition("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return DEFAULT


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    if language == DEFAULT:
        return gettext.NullTranslations()
    folder = resources.files("edge_malaria.runtime.words") / "catalogues" / language
    with folder.joinpath("messages.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)
