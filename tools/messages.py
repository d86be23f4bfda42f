"""Brings the catalogues up to date with the messages of the pages' and reports' code and templates.

    python -m tools.messages            # writes what is new into every catalogue, compiles each
    python -m tools.messages --check    # exit code 1 where one is missing or out of date

A translator fills in the empty ``msgstr`` of ``runtime/words/catalogues/LANGUAGE/messages.po`` and
runs this again: devices read the compiled ``messages.mo``.
"""

from __future__ import annotations

import argparse
import io
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import edge_malaria
from edge_malaria.runtime.words.language import DEFAULT, LANGUAGES

RUNTIME = Path(edge_malaria.__file__).parent / "runtime"
SERVE, CATALOGUES = RUNTIME / "serve", RUNTIME / "words" / "catalogues"
# Whose messages are read: the pages', the reports'.
FOLDERS = (SERVE, RUNTIME / "report")
_KEYWORDS = {"_": None, "say": None, "mark": None, "Refused": None, "NotHere": None,
             "ngettext": (1, 2), "count": (1, 2)}  # fmt: skip
# Of a catalogue's head: what every run or every version of Babel would change.
_CHANGING = (
    "-Date:",
    "Generated-By:",
    "Report-Msgid-Bugs-To:",
    "Last-Translator:",
    "Language-Team:",
)
_METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]


@cache
def messages() -> Catalog:
    """Every message of the code and the templates, read once in a process."""
    found = Catalog(project="edge-malaria", fuzzy=False)
    for folder in FOLDERS:
        for name, _, message, comments, context in extract_from_dir(
            folder, _METHODS, keywords=_KEYWORDS, options_map={"**.html": {"silent": "false"}}
        ):
            # Line numbers would change with every edit; the file says enough.
            found.add(message, None, [(name, 0)], auto_comments=comments, context=context)
    # The notice stands in a constant of its own.
    from edge_malaria.notice import RESEARCH_USE

    found.add(RESEARCH_USE)
    return found


def path_of(language: str) -> Path:
    """A language's catalogue."""
    return CATALOGUES / language / "messages.po"


def catalogue(language: str) -> Catalog:
    """A language's catalogue as it is; an empty one where there is none."""
    path = path_of(language)
    if not path.is_file():
        return Catalog(locale=language, fuzzy=False)
    return read_po(io.BytesIO(path.read_bytes()), locale=language)


def compiled(language: str) -> bytes:
    """The catalogue as devices read it."""
    known, out = catalogue(language), io.BytesIO()
    # The same bytes whenever it is made.
    known.creation_date = known.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    write_mo(out, known)
    return out.getvalue()


def brought_up(language: str) -> bytes:
    """The catalogue with today's messages: kept, new and empty, or dropped."""
    made = Catalog(locale=language, project="edge-malaria", fuzzy=False, charset="utf-8")
    made.header_comment = "# The pages and reports of edge-malaria."
    known = catalogue(language)
    for message in sorted((m for m in messages() if m.id), key=_first):
        old = known.get(message.id)
        made.add(message.id, old.string if old else None)
    out = io.BytesIO()
    write_po(out, made, width=100, no_location=True, omit_header=False, sort_output=True)
    lines = out.getvalue().decode().splitlines(keepends=True)
    return "".join(line for line in lines if not any(word in line for word in _CHANGING)).encode()


def _first(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def missing(language: str) -> list[str]:
    """Messages that have no translation."""
    known = catalogue(language)
    found = []
    for message in messages():
        old = known.get(message.id) if message.id else None
        strings = (old.string if isinstance(old.string, tuple) else (old.string,)) if old else ("",)
        if message.id and not all(strings):
            found.append(_first(message))
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wrong = 0
    for language in LANGUAGES:
        if language == DEFAULT:
            continue
        path, fresh = path_of(language), brought_up(language)
        if check:
            wrong += not path.is_file() or path.read_bytes() != fresh
            binary = path.with_suffix(".mo")
            wrong += not binary.is_file() or binary.read_bytes() != compiled(language)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(fresh)
            path.with_suffix(".mo").write_bytes(compiled(language))
        left = missing(language)
        wrong += bool(left)
        print(f"{language}: {len(left)} without a translation", file=sys.stderr)
        for text in left[:10]:
            print(f"    {text}", file=sys.stderr)
    return int(wrong > 0) if check else 0


if __name__ == "__main__":
    sys.exit(main())
