"""The HTML page of a report: verdict, what to do, cells to look at, numbers, fields, the run."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from edge_malaria.records import RESEARCH_USE, SlideReport
from edge_malaria.runtime.quality.field_quality import REASONS
from edge_malaria.runtime.report import html
from edge_malaria.runtime.report.advice import basis_text, next_steps, verdict_title
from edge_malaria.runtime.report.limit_plot import limit_plot
from edge_malaria.runtime.slide.field_line import SEEN_BEFORE
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.totals import SlideTotals


def template(name: str) -> Template:
    """A template of the report."""
    text = resources.files("edge_malaria.runtime.report").joinpath("templates", name)
    return Template(text.read_text(encoding="utf-8"))


def page(
    directory: Path, journal: Journal, totals: SlideTotals, report: SlideReport, review: Review
) -> str:
    """The whole page, self-contained but for the links to full-resolution fields."""
    tone, soft = html.TONES[report.verdict]
    others = html.others(sorted(totals.gallery, reverse=True), review)
    return template("report.html").substitute(
        verdict_title=escape(verdict_title(report)),
        tone=tone,
        tone_soft=soft,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        source=escape(str(report.details["source"])),
        basis=escape(basis_text(report)),
        why=escape(report.details["statistics"]["why"]),
        next="".join(f"<li>{escape(step)}</li>" for step in next_steps(report, directory.name)),
        warnings=html.warnings(report.warnings),
        cells_lead=html.cells_lead(report, directory.name),
        cells=html.flagged(review),
        others=others,
        tiles=html.tiles(report),
        scale=html.scale(report),
        limits=_limits(report),
        views=html.views(directory, journal),
        fields_lead=fields_lead(totals),
        refused=html.refused(report.fields_rejected, reason_text),
        facts=html.facts_table(facts_rows(report)),
        research_use=RESEARCH_USE,
    )


def reason_text(reason: str) -> str:
    """What a refusal's reason asks for."""
    if reason == SEEN_BEFORE:
        return "This place of the slide was counted already."
    return REASONS.get(reason, reason)


def fields_lead(totals: SlideTotals) -> str:
    """How many fields were looked at and counted."""
    text = f"{totals.seen} fields were looked at, {totals.accepted} were counted."
    if totals.skipped:
        text += f" {totals.skipped} frames showed places that were counted already."
    return text


_LIMITS = (
    '<section class="card"><h2>What this slide could have shown</h2><p class="lead">'
    "Limit of detection: at this many parasites, 95 of 100 slides are found. The more red cells "
    'are counted, the lower it gets. <span class="key one"></span>the program alone '
    '<span class="key two"></span>a person looks at the flagged cells. Dashed: without parasites, '
    'a slide is called "not detected" only below this line.{alone}</p>{plot}</section>'
)


def _limits(report: SlideReport) -> str:
    rows = [tuple(row) for row in report.details["limits"]]
    if not rows or report.cells_counted == 0:
        return ""
    alone = ""
    if all(limit is None for _, limit, _ in rows):
        alone = " The program alone has no line: it cannot tell here, however many it counts."
    wanted = report.details["statistics"]["max_lod"]
    return _LIMITS.format(alone=alone, plot=limit_plot(rows, report.cells_counted, wanted))


def facts_rows(report: SlideReport) -> list[tuple[str, str]]:
    """(name, value) of what the report rests on."""
    details, numbers = report.details, report.details["statistics"]
    of = f"{details['slides_without_malaria']:,} slides, {details['cells_without_malaria']:,} cells"
    where = (
        f"the site {report.site} ({of})"
        if report.site
        else f"{details['laboratories']} laboratories ({of}), for a laboratory not among them"
    )
    needed = numbers["count_needed"]
    return [
        ("Site", report.site or "none: this laboratory's own mistakes are not known"),
        (
            "Its mistakes",
            f"{numbers['false_positive_mean']:.2%} of healthy cells look parasitized to it, up to "
            f"{numbers['false_positive_p95']:.2%} on one slide in twenty: {where}. It finds "
            f"{numbers['sensitivity_mean']:.0%} of the parasitized cells.",
        ),
        (
            "Rule",
            f"from {needed:,} cells that look parasitized on, the program alone calls parasites; "
            "a person who confirms two flagged cells, or two persons who confirm one, decide"
            if needed
            else "no count among so few cells lets the program alone call parasites; a person who "
            "confirms two flagged cells, or two persons who confirm one, decide",
        ),
        ("Red cells per \u00b5L", f"{report.rbc_per_ul:,.0f}"),
        ("Left out", "gametocytes are not counted apart by this version"),
        ("Model", f"{report.model}, {report.variant}, run by {report.engine}"),
        ("Model file", f"sha256 {details['model_sha256']}"),
        ("Cell finder", str(details["finder"])),
        (
            "Thresholds",
            f"flagged from a score of {details['flagged_from']:.4f} on, looks parasitized from "
            f"{details['threshold']:.4f} on",
        ),
        ("Time", f"{report.elapsed_s:.1f} s"),
    ]
