"""Languages: gettext catalogues read once, numbers and times as each language writes them.

Messages are English and stand in the code and the templates; ``catalogues/*/messages.po`` hold the
others. ``python -m tools.serve_messages`` brings the catalogues up to date.
"""

from __future__ import annotations

import gettext
import io
import math
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources

from babel import Locale
from babel.core import negotiate_locale
from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

# Each language's own name, as a person looks for it.
LANGUAGES: Mapping[str, str] = {
    "en": "English",
    "fr": "Français",
    "bn": "বাংলা",
    "sw": "Kiswahili",
    "pt": "Português",
}
DEFAULT = "en"


def mark(message: str) -> str:
    """Marks a message for the catalogues; it is translated where it is shown."""
    return message


class Words:
    """One language.

    Args:
        language: a key of ``LANGUAGES``.
    """

    def __init__(self, language: str) -> None:
        self.language, self._locale = language, Locale.parse(language)
        self._catalogue = _catalogue(language)

    def say(self, message: str, **values: object) -> str:
        """The message in this language, with its values."""
        text = self._catalogue.gettext(message) if message else ""
        return text % values if values else text

    def count(self, one: str, many: str, n: int) -> str:
        """One of two messages, as ``n`` asks for in this language; ``n`` is its value."""
        return self._catalogue.ngettext(one, many, n) % {"n": self.number(n)}

    def number(self, value: float) -> str:
        """A number with this language's separators and the digits 0-9 everywhere."""
        return str(format_decimal(value, locale=self._locale, numbering_system="latn"))

    def share(self, value: float | None) -> str:
        """A share as a percentage with two figures that mean something; a dash for none."""
        if value is None:
            return "\u2013"
        value = 100 * value
        digits = max(0, min(4, 1 - math.floor(math.log10(abs(value))))) if value else 0
        pattern = f"0.{'#' * digits}" if digits else "0"
        number = format_decimal(
            round(value, digits), format=pattern, locale=self._locale, numbering_system="latn"
        )
        return f"{number}\u00a0%"

    def when(self, iso: str) -> str:
        """A time as this language writes it, in UTC; "" for none."""
        if not iso:
            return ""
        try:
            moment = datetime.fromisoformat(iso)
        except ValueError:
            return iso
        return f"{format_datetime(moment, 'yyyy-MM-dd HH:mm', locale='en')} UTC"


@cache
def words_for(language: str) -> Words:
    """The language's words; English for one that is not known."""
    return Words(language if language in LANGUAGES else DEFAULT)


def negotiated(wanted: str, accepted: str) -> str:
    """The language of a visitor.

    Args:
        wanted: what the visitor chose before, "" for nothing.
        accepted: the browser's Accept-Language.
    """
    if wanted in LANGUAGES:
        return wanted
    parts = [part.partition(";")[0].strip().replace("-", "_") for part in accepted.split(",")]
    found = negotiate_locale([part for part in parts if part], list(LANGUAGES), sep="_")
    return found if found is not None and found in LANGUAGES else DEFAULT


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    if language == DEFAULT:
        return gettext.NullTranslations()
    path = resources.files("edge_malaria.runtime.serve").joinpath(
        "catalogues", language, "messages.po"
    )
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(path.read_bytes()), locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
