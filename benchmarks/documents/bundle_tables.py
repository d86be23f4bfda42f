"""Tables of the bundle: what asking cells again costs and changes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.documents.markdown import evidence, table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def asked_again() -> str:
    """By source: cells asked again, cells flagged then, runs a cell, parasites flagged."""
    document = evidence("asked_again") or {}
    rows = [
        (
            name,
            f"{row['cells']:,}",
            _percent(row["asked_again"]),
            _percent(row["flagged"]),
            f"{row['runs_a_cell']:.2f}",
            _percent(row["parasites_asked_again"]),
            _percent(row["parasites_flagged"]),
        )
        for name, row in document["sources"].items()
    ]
    heads = (
        "cells of", "cells", "asked again", "flagged",
        "cost of a cell (first network alone = 1)", "parasites asked again",
        "parasites flagged",
    )  # fmt: skip
    return table(heads, rows)


TABLES: dict[str, Callable[[], str]] = {"asked-again": asked_again}
