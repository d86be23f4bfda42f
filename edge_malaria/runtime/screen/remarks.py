"""What the report of a slide should warn of, in plain words."""

from __future__ import annotations

from edge_malaria.runtime.slide.field_line import UNREADABLE
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.totals import SlideTotals

# So many lines of the journal are told one by one.
_TOLD = 5


def of_the_end(cut: bool, error: Exception | None) -> list[str]:
    """That the slide ended before its source: by Ctrl-C (``cut``) or by an error."""
    if error is not None:
        return [f"The count ended early: {error} What was counted before stands."]
    return ["Interrupted before the end of the source: go on with --resume."] if cut else []


def of_the_finder(variant: str, asked: str) -> list[str]:
    """That the finder ran another variant than the classifier; "" is no network."""
    if variant in ("", asked):
        return []
    return [f"The cell finder has no {asked} file: its {variant} file ran."]


def of_the_journal(journal: Journal) -> list[str]:
    """Which lines of the journal did not count, with the first few reasons."""
    faults = journal.faults
    if not faults:
        return []
    text = "; ".join(str(fault).rstrip(".") for fault in faults[:_TOLD])
    return [f"{len(faults)} lines of the journal do not count: {text}."]


def of_the_files(totals: SlideTotals) -> list[str]:
    """Which files could not be read."""
    unreadable = totals.rejected[UNREADABLE]
    if not unreadable:
        return []
    more = " ..." if unreadable > len(totals.unreadable) else ""
    return [f"{unreadable} files could not be read: {', '.join(totals.unreadable)}{more}."]


def of_the_gate(quality_gate: bool) -> list[str]:
    """That fields were counted however they looked."""
    if quality_gate:
        return []
    return ["The quality gate was off: fields were counted however they looked."]
