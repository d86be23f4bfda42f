"""The cells of a report's page: every flagged one first, each a tap from its field."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edge_malaria.records import SlideReport
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.report.views import view_link
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.totals import GalleryEntry
from edge_malaria.runtime.words.language import Words

# A reader's decision, as small words under the cell.
_SAID = {
    "parasite": sayings.STATUS["confirmed"],
    "no-parasite": sayings.STATUS["overturned"],
    "unsure": sayings.STATUS["unsure"],
}


def cells_lead(words: Words, report: SlideReport) -> str:
    """The sentences above the cells to look at."""
    if report.cells_counted == 0:
        return words.say("No red cell was counted, so there is none to look at.")
    if not report.review["flagged"]:
        return words.say("No cell looks enough like a parasitized one to be flagged.")
    lead = words.say(
        "%(flagged)s of %(cells)s cells are flagged, those that look most like parasitized ones "
        "first. Tap a cell to see it in its whole field.",
        flagged=words.number(report.review["flagged"]),
        cells=words.number(report.cells_counted),
    )
    alarm = words.say("A platelet or a stain spot on a cell is the usual false alarm.")
    return f"{lead} {alarm}"


def flagged(words: Words, review: Review) -> str:
    """All flagged cells, each a link to its field in full resolution."""
    out = []
    for cell in review.cells:
        status = review.status(cell.key)
        name = escape(f"{cell.field} / {cell.index}")
        picture = f'<img alt="{_alt(words, name)}" src="data:image/jpeg;base64,{cell.jpeg}">'
        link = view_link(cell)
        if link:
            picture = f'<a href="{escape(link)}">{picture}</a>'
        who = ", ".join(
            f"{escape(reader)}: {escape(words.say(_SAID[line.decision]))}"
            for reader, line in sorted(review.decisions(cell.key).items())
        )
        out.append(
            f'<figure class="cell {status}" title="{name}">{picture}{_bar(cell.p_parasitized)}'
            f"<figcaption>{escape(words.say(sayings.STATUS[status]))}<span>{who or name}</span>"
            "</figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(out)}</div>' if out else ""


def others(words: Words, entries: Sequence[GalleryEntry], review: Review) -> str:
    """The best cells that are not flagged, folded away."""
    rest = [e for e in entries if not review.knows((e.field, e.cell.index))]
    if not rest:
        return ""
    summary = words.count(
        "The %(n)s cell next in line, not flagged", "The %(n)s cells next in line, not flagged",
        len(rest),
    )  # fmt: skip
    return (
        f"<details><summary>{escape(summary)}</summary>"
        f'<div class="gallery">{_gallery(words, rest)}</div></details>'
    )


def _gallery(words: Words, entries: Sequence[GalleryEntry]) -> str:
    """Cells' crops with score and origin."""
    out = []
    for entry in entries:
        cell, p = entry.cell, entry.p_parasitized
        name = escape(f"{entry.field} / {cell.index}")
        out.append(
            f'<figure class="cell" title="{name}">'
            f'<img alt="{_alt(words, name)}" src="data:image/jpeg;base64,{cell.jpeg}">{_bar(p)}'
            f"<figcaption>{words.decimal(p, 3)}<span>{name}</span></figcaption></figure>"
        )
    return "".join(out)


def _alt(words: Words, name: str) -> str:
    cell = words.say("Cell")
    return f"{escape(cell)} {name}"


def _bar(p: float) -> str:
    return f'<div class="bar" style="--p:{100 * p:.0f}%"></div>'
