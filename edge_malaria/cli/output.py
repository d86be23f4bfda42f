"""What goes to stdout (data) and to stderr (log, progress); tables and progress bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

SCHEMA_VERSION = 1


def print_json(document: dict[str, Any]) -> None:
    """Prints one JSON document with ``schema_version`` on stdout; NaN is refused."""
    full = {"schema_version": SCHEMA_VERSION, **document}
    # A national code page must not change a document: then every character stands as \\uXXXX.
    plain = "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower()
    print(json.dumps(full, indent=2, allow_nan=False, ensure_ascii=plain))


def log(message: str) -> None:
    """One line on stderr."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """One warning line on stderr."""
    log(f"warning: {message}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table on stdout; numbers are right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    body = [[str(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = all(_looks_numeric(row[index]) for row in body) and bool(body)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        # Text, not markup: a pip extra in square brackets would vanish.
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 140, soft_wrap=False).print(table)


def _looks_numeric(text: str) -> bool:
    return text.replace(".", "").replace("-", "").replace("e", "").replace("+", "").isdigit()


class Progress(Protocol):
    """What long work calls: ``step(n)`` after each piece."""

    def step(self, done: int = 1) -> None:
        """Says that ``done`` more pieces are done."""


class _Silent:
    def step(self, done: int = 1) -> None:
        pass


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Progress]:
    """A progress bar on stderr; silent without a terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)

        class _Step:
            def step(self, done: int = 1) -> None:
                bar.advance(task, done)

        yield _Step()
