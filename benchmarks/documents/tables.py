"""The tables of the documents, made from docs/evidence: one command writes them all.

    python -m benchmarks.documents.tables [--write]

A document holds a table between two marks that name it:

    <!-- table: model-measured -->
    ...
    <!-- /table -->

Without ``--write`` the command says which documents differ from the evidence and exits with 1. A
test runs it. To add a table, write a function without arguments that returns Markdown, enter it in
the ``TABLES`` of a module here, and put its two marks into a document.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping

from benchmarks.documents import (
    bundle_tables,
    firmware_tables,
    laboratory_tables,
    model_tables,
    own_model_tables,
    parity_tables,
    performance_tables,
    results_tables,
    slide_tables,
    study_tables,
)
from benchmarks.evidence_file import ROOT
from edge_malaria.files import write_text

DOCUMENTS = ("README.md", "docs/*.md")
TABLES: Mapping[str, Callable[[], str]] = {
    **model_tables.TABLES,
    **study_tables.TABLES,
    **slide_tables.TABLES,
    **firmware_tables.TABLES,
    **parity_tables.TABLES,
    **performance_tables.TABLES,
    **results_tables.TABLES,
    **laboratory_tables.TABLES,
    **own_model_tables.TABLES,
    **bundle_tables.TABLES,
}
_BLOCK = re.compile(r"<!-- table: (?P<name>[\w-]+) -->\n(?P<body>.*?)<!-- /table -->", re.DOTALL)
_MARK = re.compile(r"<!-- (?:table: [\w-]+|/table) -->")


class UnknownTable(Exception):
    """A mark that names no table, or that has no partner."""


def names_in(text: str) -> list[str]:
    """The tables that a document shows."""
    return [match["name"] for match in _BLOCK.finditer(text)]


def updated(text: str, where: str) -> str:
    """``text`` with today's table between each pair of marks.

    Args:
        text: of a Markdown document.
        where: its name, for errors.

    Raises:
        UnknownTable: a mark names no table, or stands alone.
    """
    if len(_MARK.findall(text)) != 2 * len(names_in(text)):
        raise UnknownTable(f"{where}: expected every table mark in a pair, got one alone.")

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in TABLES:
            raise UnknownTable(f"{where}: expected one of {', '.join(TABLES)}, got {name}.")
        return f"<!-- table: {name} -->\n{TABLES[name]()}\n<!-- /table -->"

    return _BLOCK.sub(replace, text)


def main() -> int:
    """Checks or writes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put today's tables in")
    write = parser.parse_args().write
    stale: list[str] = []
    shown: list[str] = []
    for path in sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        shown += names_in(text)
        now = updated(text, name)
        if now != text:
            stale.append(name)
            if write:
                write_text(path, now)
    unused = sorted(set(TABLES) - set(shown))
    print(f"{len(shown)} tables; {'rewrote' if write else 'stale'}: {', '.join(stale) or 'none'}")
    if unused:
        print(f"in no document: {', '.join(unused)}")
    return 1 if unused or not shown or (stale and not write) else 0


if __name__ == "__main__":
    sys.exit(main())
