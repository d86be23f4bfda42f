"""The shape of a device's slides and database: counts alone; and what names somebody in them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_malaria.errors import UsageError
from edge_malaria.runtime.report.sayings import REASONS
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.line_coding import decoded
from edge_malaria.runtime.slide.lines import HeaderLine, Line, ReviewLine, SlideLine
from edge_malaria.runtime.slide.signature import SAMPLE_FACT as FACT
from edge_malaria.runtime.store.database import NAME as STORE_NAME
from edge_malaria.runtime.store.slides import SLIDES, STATES

# Columns whose values name somebody, by table.
_NAMING = {
    "slides": ("sample", "reader", "site", "signed_by", "signed_sha256", "id"),
    "users": ("name", "password_hash"),
    "sessions": ("user", "token_sha256"),
    "audit": ("who", "address", "detail"),
}
_KINDS = {"red-cell", "white-cell", "platelet", "debris"}


def journals(data: Path) -> list[Path]:
    """Every slide's journal, by name."""
    return sorted((data / SLIDES).glob(f"*/{JOURNAL_NAME}"))


def lines_of(path: Path) -> Iterator[Line | None]:
    """A journal's lines, one after the other; None for one that is damaged."""
    with path.open("rb") as handle:
        for data in handle:
            try:
                yield decoded(data)
            except (ValueError, UsageError):
                yield None


def journal_shape(path: Path) -> dict[str, Any]:
    """How many lines, fields, cells and decisions a journal holds; no code, no name."""
    lines: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    cells: Counter[str] = Counter()
    state = ""
    for line in lines_of(path):
        lines["damaged" if line is None else line.kind] += 1
        if isinstance(line, FieldLine):
            reason = line.reason if line.reason in REASONS else "other"
            refused[reason if line.reason else "counted"] += 1
            kinds.update(cell.kind if cell.kind in _KINDS else "other" for cell in line.cells)
            cells.update(counted=line.counted, positive=line.positive, flagged=line.likely)
        elif isinstance(line, SlideLine) and line.name == FACT and isinstance(line.value, dict):
            told = line.value.get("state")
            state = told if told in STATES else "other"
    files = Counter(item.suffix for item in path.parent.rglob("*") if item.is_file())
    known = {".jsonl", ".json", ".html", ".md", ".csv", ".jpg", ".png", ".torn"}
    return {
        "state": state,
        "bytes": path.stat().st_size,
        "lines": dict(sorted(lines.items())),
        "fields": dict(sorted(refused.items())),
        "cells": {**dict(sorted(cells.items())), "found": dict(sorted(kinds.items()))},
        "files": {s if s in known else "other": n for s, n in sorted(files.items())},
    }


def names_in_journal(path: Path) -> set[str]:
    """What in a journal may name a person or a sample: codes, readers, file names, sources."""
    found: set[str] = {path.parent.name}
    for line in lines_of(path):
        if isinstance(line, SlideLine) and line.name == FACT and isinstance(line.value, dict):
            names = ("sample", "reader", "site", "signed_by", "source")
            found |= {str(line.value.get(name, "")) for name in names}
        elif isinstance(line, ReviewLine):
            found.add(line.reader)
        elif isinstance(line, HeaderLine):
            found |= set(line.source)
        elif isinstance(line, FieldLine):
            found |= {line.field, Path(line.field).stem}
    return found


def _store(data: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{(data / STORE_NAME).absolute().as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return sorted(str(row[0]) for row in rows)


def store_shape(data: Path) -> dict[str, Any]:
    """The database's version, whether it is whole, and how many rows each table has."""
    if not (data / STORE_NAME).is_file():
        return {"there": False}
    try:
        with closing(_store(data)) as connection:
            rows = {
                table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
                for table in _tables(connection)
            }
            return {
                "there": True,
                "version": connection.execute("PRAGMA user_version").fetchone()[0],
                "quick_check": connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok",
                "rows": rows,
            }
    except sqlite3.Error as error:
        return {"there": True, "error": type(error).__name__}


def names_in_store(data: Path) -> set[str]:
    """What in the database names a person, a sample or a machine, hashes of passwords included."""
    found: set[str] = set()
    if not (data / STORE_NAME).is_file():
        return found
    try:
        with closing(_store(data)) as connection:
            there = set(_tables(connection))
            for table, columns in _NAMING.items():
                if table in there:
                    asked = ", ".join(columns)
                    for row in connection.execute(f"SELECT {asked} FROM {table}"):
                        found |= {str(value) for value in row}
    except sqlite3.Error:
        # A damaged database names nobody that could be read; the journals are asked, too.
        return found
    return found
