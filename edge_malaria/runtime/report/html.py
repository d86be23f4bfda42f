"""Pieces of the HTML page: tiles, the interval's picture, the gallery, tables."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from edge_malaria.files import encode_image, read_image
from edge_malaria.records import SlideReport
from edge_malaria.runtime.detect.light import shrink
from edge_malaria.runtime.report.views import STATUS_WORDS, view_link
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.totals import GalleryEntry

# Background of the verdict: dark enough for white text, told apart without red and green.
TONES = {
    "parasites-detected": ("#9a2f0c", "#c8501e"),
    "not-detected": ("#0b4f78", "#1478ad"),
    "indeterminate": ("#54470b", "#84701a"),
}
DECISION_WORDS = {"parasite": "parasite", "no-parasite": "no parasite", "unsure": "cannot say"}
_VIEWS = 4
_VIEW_SIDE_PX = 640


def percent(share: float | None) -> str:
    """A share as a percentage with two or three figures that mean something."""
    if share is None:
        return "\u2013"
    value = 100 * share
    if value == 0:
        return "0 %"
    digits = max(0, min(4, 1 - math.floor(math.log10(abs(value)))))
    return f"{value:.{digits}f} %"


def per_ul(value: float | None) -> str:
    """Parasites per microlitre with two significant figures."""
    if value is None:
        return "\u2013"
    if value <= 0:
        return "0"
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{round(value / unit) * unit:,.0f}"


def headline_numbers(report: SlideReport) -> list[tuple[str, str, str]]:
    """(name, value, note) of the page's tiles."""
    numbers = report.details["statistics"]
    review = report.review
    looked = f"{review['reviewed']:,} looked at: {review['confirmed']:,} confirmed, "
    looked += f"{review['overturned']:,} overturned"
    return [
        ("Red cells counted", f"{report.cells_counted:,}", f"in {_accepted(report)} fields"),
        ("Cells flagged", f"{report.cells_flagged:,}", looked),
        *_how_many(report),
        (
            "Limit of detection, program alone",
            *_limit(report, report.limit_of_detection_per_ul, numbers["limit_of_detection"]),
        ),
        (
            "Limit of detection, person looks",
            *_limit(
                report,
                report.limit_of_detection_reviewed_per_ul,
                numbers["limit_of_detection_reviewed"],
            ),
        ),
    ]


def _how_many(report: SlideReport) -> list[tuple[str, str, str]]:
    if report.parasitemia is None or report.ci95 is None:
        why = no_number(report)
        return [("Parasitemia", "not known", why), ("Parasites per \u00b5L", "not known", "")]
    low, high = report.ci95
    rbc = report.rbc_per_ul
    return [
        ("Parasitemia", percent(report.parasitemia), f"between {percent(low)} and {percent(high)}"),
        (
            "Parasites per \u00b5L",
            per_ul(report.parasites_per_ul),
            f"between {per_ul(low * rbc)} and {per_ul(high * rbc)}, at {rbc:,.0f} red cells",
        ),
    ]


def _accepted(report: SlideReport) -> str:
    return f"{report.details['fields_accepted']} of {report.fields_seen}"


def no_number(report: SlideReport) -> str:
    """Why no parasitemia is given."""
    numbers = report.details["statistics"]
    if report.cells_counted == 0:
        return "No red cell was counted."
    if numbers["unfamiliar"]:
        return "This slide is unlike those that the program was tested on: its count is no measure."
    if numbers["points_disagree"]:
        return "Two ways of counting contradict each other on this slide."
    return "Nothing here settles whether there are parasites, so nothing is multiplied."


def _limit(report: SlideReport, value: float | None, share: float | None) -> tuple[str, str]:
    if report.cells_counted == 0:
        return "none", "No red cell was counted."
    if value is None or share is None:
        return "none", "From so few cells, or at a place it does not know, it cannot tell."
    return (
        f"about {per_ul(value)}",
        f"parasites per \u00b5L ({percent(share)}): a slide with fewer may be missed",
    )


def tiles(report: SlideReport) -> str:
    """The page's numbers."""
    return "".join(
        f'<div class="tile"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div><div class="note">{escape(note)}</div></div>'
        for name, value, note in headline_numbers(report)
    )


def scale(report: SlideReport) -> str:
    """The interval as an inline SVG on a logarithmic axis from 0.001 % to 100 %."""
    if report.ci95 is None:
        return ""
    left, width, lowest = 30, 420, -5.0

    def x(share: float) -> float:
        value = max(math.log10(share), lowest) if share > 0 else lowest
        return left + (value - lowest) / -lowest * width

    parts = [
        '<svg class="scale" viewBox="0 0 480 112" role="img" '
        'aria-label="parasitemia with its interval">'
    ]
    for power in range(-5, 1):
        at, label = x(10.0**power), "0" if power == -5 else f"{100 * 10.0**power:g} %"
        parts.append(
            f'<line x1="{at:.0f}" y1="26" x2="{at:.0f}" y2="82" stroke="currentColor" '
            f'stroke-opacity=".15"/><text x="{at:.0f}" y="104" text-anchor="middle" '
            f'fill="currentColor" fill-opacity=".8">{label}</text>'
        )
    low, high = report.ci95
    tone = TONES[report.verdict][1]
    parts.append(
        f'<rect x="{x(low):.1f}" y="44" height="20" rx="10" '
        f'width="{max(3.0, x(high) - x(low)):.1f}" '
        f'fill="{tone}" fill-opacity=".45"/>'
        f'<circle cx="{x(report.parasitemia or 0.0):.1f}" cy="54" r="7" fill="{tone}"/>'
    )
    numbers = report.details["statistics"]
    by_reader = report.basis == "reader"
    limit = numbers["limit_of_detection_reviewed" if by_reader else "limit_of_detection"]
    if limit:
        at = x(limit)
        # The words keep clear of both edges.
        words = min(max(at, left + 45), left + width - 45)
        parts.append(
            f'<line x1="{at:.1f}" y1="22" x2="{at:.1f}" y2="82" stroke="currentColor" '
            f'stroke-width="2" stroke-dasharray="5 4"/><text x="{words:.1f}" y="15" '
            f'text-anchor="middle" fill="currentColor">limit of detection</text>'
        )
    lead = (
        "Share of red cells that hold parasites: the dot is the best guess, the bar holds it in 95 "
        "of 100 slides, the dashed line is the limit of detection. 0.1 % is 5,000 parasites per "
        "\u00b5L at 5,000,000 red cells."
    )
    return (
        '<section class="card"><h2>How many parasites, and how sure</h2>'
        f'<p class="lead">{lead}</p>{"".join([*parts, "</svg>"])}</section>'
    )


def warnings(texts: Sequence[str]) -> str:
    """A card with the warnings, or nothing."""
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<section class="card"><h2>Please note</h2><ul class="warn">{items}</ul></section>'


def cells_lead(report: SlideReport, name: str) -> str:
    """The sentence above the cells to look at."""
    review = report.review
    waiting = review["flagged"] - review["reviewed"]
    if report.cells_counted == 0:
        return "No red cell was counted, so there is none to look at."
    if not review["flagged"]:
        return "No cell looks enough like a parasitized one to be flagged."
    text = (
        f"{review['flagged']:,} of {report.cells_counted:,} cells are flagged, those that look "
        "most like parasitized ones first. Tap a cell to see it in its whole field. "
        "A platelet or a stain spot on a cell is the usual false alarm."
    )
    if waiting:
        wait = "1 waits" if waiting == 1 else f"{waiting:,} wait"
        text += f" {wait} for a person: <code>edge-malaria review {escape(name)}</code>"
    return text


def flagged(review: Review) -> str:
    """All flagged cells, each a link to its field in full resolution."""
    out = []
    for cell in review.cells:
        status = review.status(cell.key)
        name = escape(f"{cell.field} / {cell.index}")
        picture = f'<img alt="cell {name}" src="data:image/jpeg;base64,{cell.jpeg}">'
        link = view_link(cell)
        if link:
            picture = f'<a href="{escape(link)}">{picture}</a>'
        who = ", ".join(
            f"{escape(reader)}: {DECISION_WORDS[line.decision]}"
            for reader, line in sorted(review.decisions(cell.key).items())
        )
        out.append(
            f'<figure class="cell {status}" title="{name}">{picture}'
            f'<div class="bar" style="--p:{100 * cell.p_parasitized:.0f}%"></div>'
            f"<figcaption>{STATUS_WORDS[status]}<span>{who or name}</span></figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(out)}</div>' if out else ""


def others(entries: Sequence[GalleryEntry], review: Review) -> str:
    """The best cells that are not flagged, folded away."""
    rest = [e for e in entries if not review.knows((e.field, e.cell.index))]
    if not rest:
        return ""
    return (
        f"<details><summary>The {len(rest)} cells next in line, not flagged</summary>"
        f'<div class="gallery">{gallery(rest)}</div></details>'
    )


def gallery(entries: Sequence[GalleryEntry]) -> str:
    """Cells' crops with score and origin."""
    out = []
    for entry in entries:
        cell, p = entry.cell, entry.p_parasitized
        name = escape(f"{entry.field} / {cell.index}")
        out.append(
            f'<figure class="cell" title="{name}">'
            f'<img alt="cell {name}" src="data:image/jpeg;base64,{cell.jpeg}">'
            f'<div class="bar" style="--p:{100 * p:.0f}%"></div>'
            f"<figcaption>{p:.3f}<span>{name}</span></figcaption></figure>"
        )
    return "".join(out)


def views(directory: Path, journal: Journal) -> str:
    """The annotated fields with the most positive cells, embedded."""
    best: list[tuple[int, int, str, str, int]] = []
    for order, line in enumerate(journal.fields()):
        if line.picture and (directory / line.picture).is_file():
            best.append((line.positive, -order, line.picture, line.field, line.counted))
            best = sorted(best, reverse=True)[:_VIEWS]
    if not best:
        return ""
    figures = []
    for positive, _, picture, name, counted in best:
        image = read_image(directory / picture)
        small = shrink(image, min(1.0, _VIEW_SIDE_PX / max(image.shape[:2])))
        jpeg = base64.b64encode(encode_image(small, ".jpg", 78)).decode()
        figures.append(
            f'<figure><img alt="annotated field" src="data:image/jpeg;base64,{jpeg}">'
            f"<figcaption>{escape(name)}: {counted} counted, {positive} look parasitized"
            f" &middot; larger: {escape(picture)}</figcaption></figure>"
        )
    legend = "".join(
        f'<i style="background:{colour}"></i>{text}'
        for colour, text in (
            ("#d55e00", "looks parasitized"),
            ("#0072b2", "counted"),
            ("#969696", "left out (border, overlap, debris)"),
            ("#e6be00", "white cell"),
        )
    )
    return (
        f'<section class="card"><h2>Fields with the most positive cells</h2>'
        f'<p class="lead legend">{legend}</p><div class="views">{"".join(figures)}</div></section>'
    )


def refused(counts: Mapping[str, int], text: Callable[[str], str]) -> str:
    """The table of refused fields."""
    if not counts:
        return "<p>No field was refused.</p>"
    rows = "".join(
        f'<tr><td>{escape(reason)}</td><td class="n">{n}</td><td>{escape(text(reason))}</td></tr>'
        for reason, n in counts.items()
    )
    return (
        f"<table><tr><th>Refused because</th><th>Fields</th><th>What to do</th></tr>{rows}</table>"
    )


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of name and value."""
    return "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows
    )
