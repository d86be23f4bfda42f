"""The tables of one threshold for every laboratory, and of laboratories left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.cells.laboratories import BEFORE, BEFORE_SCALED
from benchmarks.documents.markdown import evidence, table

_COLUMNS = (
    "network", "westlake, iml, NIH at 1 %", "limiting source", "the same at .1 %",
    "AUC westlake, iml, NIH test", "AUC NIH test without suspect labels",
)  # fmt: skip
_SHIPPED = (
    "network", "westlake, iml, NIH sensitivity where at most 1 % of any source is called",
    "the same at .1 %", "westlake, iml sensitivity at its balanced point", "at its screening point",
    "AUC westlake, iml, NIH test", "AUC NIH test without suspect labels",
)  # fmt: skip
_LEFT_OUT = (
    "laboratory left out", "called at the 1 % home point: before, left out",
    "called at the .1 % home point: before, left out", "westlake, iml, NIH at 1 %",
    "limiting source", "the same at .1 %", "AUC westlake, iml, NIH test",
)  # fmt: skip
# The sources that stand for a laboratory.
_OF_LABORATORY = {"chula": ("chula", "chula_disease")}


def laboratories(name: str = "laboratories") -> str:
    """Each network's sensitivities where no source has more than 1 % or .1 % called, and AUCs."""
    document = evidence(name) or {"networks": {}}
    rows = []
    for network, figures in document["networks"].items():
        sound = f"{figures['auc']['nih_test_without_suspect']:.4f}"
        at, limiting = _sensitivities(figures)
        rows.append((network, at[0], limiting, at[1], _areas(figures), sound))
    return table(_COLUMNS, rows)


def before_and_now() -> str:
    """What shipped before beside what ships."""
    networks = (evidence("laboratories") or {"networks": {}})["networks"]
    rows = []
    for name in (BEFORE, "ships"):
        figures = networks[name]
        at, _ = _sensitivities(figures)
        own = figures["own_points"]
        called = [
            f"{own[point]['westlake']:.2f} / {own[point]['iml_asexual']:.2f}"
            for point in ("balanced", "screening")
        ]
        sound = f"{figures['auc']['nih_test_without_suspect']:.4f}"
        rows.append((name, at[0], at[1], *called, _areas(figures), sound))
    return table(_SHIPPED, rows)


def left_out() -> str:
    """Networks that never saw a laboratory: what they call there, and the common threshold."""
    document = evidence("laboratories") or {"networks": {BEFORE_SCALED: {}}, "left_out": {}}
    shipped, rows = document["networks"][BEFORE_SCALED], []
    for name, figures in document["left_out"].items():
        called = [
            f"{_called(shipped, name, limit):.4f}, {_called(figures, name, limit):.4f}"
            for limit in ("0.01", "0.001")
        ]
        at, limiting = _sensitivities(figures)
        rows.append((name, *called, at[0], limiting, at[1], _areas(figures)))
    return table(_LEFT_OUT, rows)


def _called(figures: dict[str, Any], laboratory: str, limit: str) -> float:
    """Share of a laboratory's cells called at a home point."""
    names = _OF_LABORATORY.get(laboratory, (laboratory,))
    shares = figures["home_points"][limit]["sources"]
    counts = [figures["cells"][name] for name in names]
    called = sum(shares[name] * count for name, count in zip(names, counts, strict=True))
    return float(called / sum(counts))


def _sensitivities(figures: dict[str, Any]) -> tuple[list[str], str]:
    """At the common thresholds of 1 % and .1 %, and which source sets the first."""
    at = [figures[f"at_most_{limit}"] for limit in ("0.01", "0.001")]
    keys = ("westlake", "iml_asexual", "nih_without_suspect")
    shown = [" / ".join(f"{found[key]:.2f}" for key in keys) for found in at]
    return shown, at[0]["limiting_source"]


def _areas(figures: dict[str, Any]) -> str:
    return " / ".join(f"{figures['auc'][k]:.4f}" for k in ("westlake", "iml_asexual", "nih_test"))


TABLES: dict[str, Callable[[], str]] = {
    "laboratories": laboratories,
    "laboratories-micro": partial(laboratories, "laboratories-micro"),
    "laboratories-shipped": before_and_now,
    "laboratories-left-out": left_out,
}
