"""Tables of the bundle: what asking flagged cells again costs and changes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.documents.markdown import evidence, table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def flagged_views() -> str:
    """By source: cells asked again, cells flagged then, runs a cell, parasites flagged."""
    document = evidence("flagged_views") or {}
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
        "cells of", "cells", "flagged by the first answer", "flagged by eight views",
        "runs of the network a cell", "parasites flagged by the first answer", "by eight views",
    )  # fmt: skip
    return table(heads, rows)


TABLES: dict[str, Callable[[], str]] = {"flagged-views": flagged_views}
