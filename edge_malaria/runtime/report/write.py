"""The report directory: report.json, report.md, cells.csv and one self-contained HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from edge_malaria.files import new_file, write_json, write_text
from edge_malaria.records import RESEARCH_USE, SlideReport
from edge_malaria.runtime.quality.field_quality import REASONS
from edge_malaria.runtime.report import html
from edge_malaria.runtime.slide.field_line import SEEN_BEFORE
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.statistics import SlideResult
from edge_malaria.runtime.slide.totals import SlideTotals

CELL_COLUMNS = (
    "field", "index", "x0", "y0", "x1", "y1", "kind", "p_parasitized", "counted", "reason",
)  # fmt: skip
REPORT_SCHEMA_VERSION = 1
VERDICT_TITLES = {
    "parasites-detected": "Parasites detected",
    "not-detected": "Not detected in {cells} cells",
    "indeterminate": "Indeterminate",
}


@dataclass(frozen=True)
class ReportFacts:
    """What the report says of the run itself.

    Attributes:
        source: as the user named it.
        model, version, variant, engine, finder: what ran.
        model_sha256: of the classifier's file.
        threshold: the screening threshold.
        healthy_patients, healthy_cells: behind the false-positive fit.
        warnings: what the user should know.
    """

    source: str
    model: str
    version: str
    variant: str
    engine: str
    finder: str
    model_sha256: str
    threshold: float
    healthy_patients: int
    healthy_cells: int
    warnings: tuple[str, ...] = ()


def slide_report(
    totals: SlideTotals, result: SlideResult, facts: ReportFacts, settings: Mapping[str, Any]
) -> SlideReport:
    """The slide's record."""
    return SlideReport(
        verdict=result.verdict,
        fields_seen=totals.seen,
        fields_rejected=dict(sorted(totals.rejected.items())),
        cells_counted=totals.cells,
        cells_positive=totals.positive,
        parasitemia=result.parasitemia,
        ci95=result.ci95,
        parasites_per_ul=result.parasites_per_ul,
        rbc_per_ul=result.rbc_per_ul,
        limit_of_detection_per_ul=result.limit_of_detection_per_ul,
        model=f"{facts.model} {facts.version}",
        variant=facts.variant,
        engine=facts.engine,
        warnings=facts.warnings,
        elapsed_s=round(totals.elapsed_s, 3),
        details={
            "statistics": result.as_json(),
            "fields_accepted": totals.accepted,
            "frames_of_counted_places": totals.skipped,
            "cells_doubtful": totals.doubtful,
            "finder": facts.finder,
            "model_sha256": facts.model_sha256,
            "threshold": facts.threshold,
            "false_positive_patients": facts.healthy_patients,
            "false_positive_cells": facts.healthy_cells,
            "source": facts.source,
            "settings": dict(settings),
        },
    )


def write_report(
    directory: Path, journal: Journal, totals: SlideTotals, report: SlideReport, facts: ReportFacts
) -> Path:
    """Writes every file of the report and returns the HTML page's path.

    Raises:
        StorageError: disk full or not writable; the journal stays usable.
    """
    write_cells(directory / "cells.csv", journal)
    document = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "research_use": RESEARCH_USE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **report.as_json(),
        "details": dict(report.details),
    }
    write_json(directory / "report.json", document)
    write_text(directory / "report.md", _markdown(report, facts, totals))
    page = directory / "report.html"
    write_text(page, _page(directory, journal, totals, report, facts))
    return page


def write_cells(path: Path, journal: Journal) -> None:
    """cells.csv, one row a cell found, streamed from the journal field by field."""
    with new_file(path) as out:
        text = io.TextIOWrapper(out, "utf-8", "backslashreplace", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(CELL_COLUMNS)
        for line in journal.fields():
            for index, cell in enumerate(line.cells):
                p = "" if cell.p_parasitized is None else f"{cell.p_parasitized:.5f}"
                flag = "true" if cell.counted else "false"
                table.writerow([line.field, index, *cell.box, cell.kind, p, flag, cell.reason])
        text.flush()
        text.detach()


def _template(name: str) -> Template:
    text = resources.files("edge_malaria.runtime.report").joinpath("templates", name)
    return Template(text.read_text(encoding="utf-8"))


def verdict_title(report: SlideReport) -> str:
    """The verdict as a heading; never "negative"."""
    return VERDICT_TITLES[report.verdict].format(cells=f"{report.cells_counted:,}")


def next_step(report: SlideReport) -> str:
    """What the health worker does now."""
    more = report.details["statistics"]["more_cells"]
    if report.verdict == "parasites-detected":
        return (
            "Next: confirm under the microscope, name the species, and follow the local guideline."
        )
    if report.verdict == "not-detected":
        return (
            "Next: with fever or other signs, repeat after 12-24 hours, or use another test. "
            "A few parasites below the limit of detection cannot be seen this way."
        )
    if report.cells_counted == 0:
        return "Next: read why the fields were refused below, correct it, and take new fields."
    if more:
        return f"Next: about {more:,} more cells would settle it, if their share stays as it is."
    return "Next: more cells will not settle it. Let an experienced microscopist read this slide."


def _page(
    directory: Path, journal: Journal, totals: SlideTotals, report: SlideReport, facts: ReportFacts
) -> str:
    tone, soft = html.TONES[report.verdict]
    best = sorted(totals.gallery, reverse=True)
    return _template("report.html").substitute(
        verdict_title=escape(verdict_title(report)),
        tone=tone,
        tone_soft=soft,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        source=escape(facts.source),
        why=escape(report.details["statistics"]["why"]),
        next=escape(next_step(report)),
        tiles=html.tiles(report),
        scale_lead=html.SCALE_LEAD,
        scale=html.scale(report),
        warnings=html.warnings(report.warnings),
        gallery_lead=html.gallery_lead(len(best), facts.threshold),
        gallery=html.gallery(best),
        views=html.views(directory, journal),
        fields_lead=_fields_lead(totals),
        refused=html.refused(report.fields_rejected, reason_text),
        facts=html.facts_table(_facts_rows(report, facts)),
        research_use=RESEARCH_USE,
    )


def reason_text(reason: str) -> str:
    """What a refusal's reason asks for."""
    if reason == SEEN_BEFORE:
        return "This place of the slide was counted already."
    return REASONS.get(reason, reason)


def _fields_lead(totals: SlideTotals) -> str:
    text = f"{totals.seen} fields were looked at, {totals.accepted} were counted."
    if totals.skipped:
        text += f" {totals.skipped} frames showed places that were counted already."
    return text


def _facts_rows(report: SlideReport, facts: ReportFacts) -> list[tuple[str, str]]:
    numbers = report.details["statistics"]
    return [
        ("Model", f"{report.model}, {facts.variant}, run by {facts.engine}"),
        ("Model file", f"sha256 {facts.model_sha256}"),
        ("Cell finder", facts.finder),
        ("Screening threshold", f"a cell counts as parasitized from p = {facts.threshold:.3f} on"),
        (
            "Its own errors",
            f"{numbers['false_positive_mean']:.2%} of healthy cells called parasitized, up to "
            f"{numbers['false_positive_p95']:.2%} on one slide in twenty; measured on "
            f"{facts.healthy_cells:,} cells of {facts.healthy_patients} healthy patients. "
            f"{numbers['sensitivity_mean']:.0%} of parasitized cells are called so.",
        ),
        (
            "Rule",
            f"parasites are detected from {numbers['count_needed']} positive cells on"
            if numbers["count_needed"]
            else "no count among so few cells would mean parasites",
        ),
        (
            "How much",
            f"measured at the {numbers['measured_at']} point, corrected for false and missed calls",
        ),
        ("Red cells per \u00b5L", f"{report.rbc_per_ul:,.0f}"),
        ("Left out", "gametocytes are not counted apart by this version"),
        ("Time", f"{report.elapsed_s:.1f} s"),
    ]


def _markdown(report: SlideReport, facts: ReportFacts, totals: SlideTotals) -> str:
    out = io.StringIO()
    for name, value, note in html.headline_numbers(report):
        out.write(f"| {name} | {value} {('(' + note + ')') if note else ''} |\n")
    for name, value in _facts_rows(report, facts):
        out.write(f"| {name} | {value} |\n")
    refused = [f"| {r} | {n} | {reason_text(r)} |" for r, n in report.fields_rejected.items()]
    return _template("report.md").substitute(
        verdict_title=verdict_title(report),
        why=report.details["statistics"]["why"],
        next=next_step(report),
        rows=out.getvalue().rstrip("\n"),
        fields_lead=_fields_lead(totals),
        refused="\n".join(refused) or "| none | 0 | |",
        warnings="\n".join(f"- {w}" for w in report.warnings) or "None.",
        research_use=RESEARCH_USE,
    )
