"""The report directory: report.json, report.md, cells.csv and one self-contained HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_malaria.files import csv_text, new_file, write_json, write_text
from edge_malaria.records import RESEARCH_USE, SlideReport
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.report.basis import ReportBasis, kept_basis
from edge_malaria.runtime.report.fields import fields_lead
from edge_malaria.runtime.report.foundations import facts_rows
from edge_malaria.runtime.report.limit_plot import LimitRow
from edge_malaria.runtime.report.numbers import headline_numbers
from edge_malaria.runtime.report.page import Content, page, template
from edge_malaria.runtime.report.views import write_views
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.site_profile import limit_table
from edge_malaria.runtime.slide.statistics import SlideResult, SlideStatistics
from edge_malaria.runtime.slide.totals import SlideTotals
from edge_malaria.runtime.words.language import DEFAULT, words_for

CELL_COLUMNS = (
    "field", "index", "x0", "y0", "x1", "y1", "kind", "p_parasitized", "counted", "reason",
)  # fmt: skip
REPORT_SCHEMA_VERSION = 2
# Of the cells that are not flagged, so many with the highest scores are shown.
GALLERY_CELLS = 60
_DISAGREE = (
    "The strict and the wide count contradict each other: this slide's stain or camera is unlike "
    "those that the program was tested on. No parasitemia is given."
)


def slide_report(
    totals: SlideTotals, result: SlideResult, basis: ReportBasis, limits: Sequence[LimitRow] = ()
) -> SlideReport:
    """The slide's record.

    Args:
        totals: the sums over its fields.
        result: of the statistics.
        basis: the run, its errors and rules.
        limits: (cells, limit of detection without, with a reader), for the plot.
    """
    facts, review = basis.facts, result.review
    return SlideReport(
        verdict=result.verdict,
        basis=result.basis,
        fields_seen=totals.seen,
        fields_rejected=dict(sorted(totals.rejected.items())),
        cells_counted=totals.cells,
        cells_positive=totals.positive,
        cells_flagged=review.flagged,
        review=review.as_json(),
        parasitemia=result.parasitemia,
        ci95=result.ci95,
        parasites_per_ul=result.parasites_per_ul,
        rbc_per_ul=result.rbc_per_ul,
        limit_of_detection_per_ul=result.limit_of_detection_per_ul,
        limit_of_detection_reviewed_per_ul=result.limit_of_detection_reviewed_per_ul,
        site=result.site or None,
        model=f"{facts.model} {facts.version}",
        variant=facts.variant,
        engine=facts.engine,
        warnings=(*facts.warnings, *([_DISAGREE] if result.points_disagree else [])),
        elapsed_s=round(totals.elapsed_s, 3),
        details={
            "statistics": result.as_json(),
            "limits": [list(row) for row in limits],
            "fields_accepted": totals.accepted,
            "frames_of_counted_places": totals.skipped,
            "cells_doubtful": totals.borderline,
            "finder": facts.finder,
            "model_sha256": facts.model_sha256,
            "threshold": facts.threshold,
            "flagged_from": facts.flagged_from,
            "laboratories": basis.errors.laboratories,
            "slides_without_malaria": basis.errors.slides,
            "cells_without_malaria": basis.errors.cells,
            "source": facts.source,
            "settings": dict(basis.settings),
        },
    )


def report_again(directory: Path, journal: Journal, language: str = "") -> SlideReport:
    """Writes the report anew from the journal alone, the decisions of readers included.

    Args:
        directory: of the report.
        journal: of the slide.
        language: of the report; "" keeps the one that the slide was screened with.

    Raises:
        UsageError, DataError: the journal holds no report line; see ``kept_basis``.
        StorageError: disk full or not writable.
    """
    basis = kept_basis(journal)
    return report_of(directory, journal, totals_of(journal, basis), basis, language)[0]


def totals_of(journal: Journal, basis: ReportBasis) -> SlideTotals:
    """The sums over a journal's fields."""
    totals = SlideTotals()
    shown = basis.settings.get("report", {}).get("gallery_cells", GALLERY_CELLS)
    for line in journal.fields():
        totals.add(line, shown)
    return totals


def language_of(basis: ReportBasis) -> str:
    """The language that a slide was screened with."""
    return str(basis.settings.get("report", {}).get("language", DEFAULT))


def report_of(
    directory: Path,
    journal: Journal,
    totals: SlideTotals,
    basis: ReportBasis,
    language: str = "",
    *,
    running: bool = False,
) -> tuple[SlideReport, Path]:
    """Judges the slide, writes its report, and returns the record and the HTML page's path.

    Args:
        directory: of the report.
        journal: of the slide.
        totals: over its fields.
        basis: of its report.
        language: of the report; "" takes the basis's.
        running: whether fields are still to come: the page says so and loads itself anew.
    """
    statistics = SlideStatistics(basis.errors, basis.rules)
    review = Review.of(journal)
    result = statistics.result(
        totals.count, basis.rbc_per_ul, review.count(basis.errors.upper_from)
    )
    share = len(review.cells) / totals.cells if totals.cells else None
    rows = limit_table(statistics, flagged=share)
    report = slide_report(totals, result, basis, rows)
    words = words_for(language or language_of(basis))
    content = Content(words, directory, journal, totals, report, review, running=running)
    return report, write_report(content)


def write_report(content: Content) -> Path:
    """Writes every file of the report and returns the HTML page's path.

    Raises:
        StorageError: disk full or not writable; the journal stays usable.
    """
    directory, report = content.directory, content.report
    write_cells(directory / "cells.csv", content.journal)
    document = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "research_use": RESEARCH_USE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **report.as_json(),
        "details": dict(report.details),
    }
    write_json(directory / "report.json", document)
    write_text(directory / "report.md", _markdown(content))
    write_views(content.words, directory, content.review)
    path = directory / "report.html"
    write_text(path, page(content))
    return path


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
                table.writerow(
                    [csv_text(line.field), index, *cell.box, cell.kind, p, flag, cell.reason]
                )
        text.flush()
        text.detach()


def _markdown(content: Content) -> str:
    words, report = content.words, content.report
    say, out = words.say, io.StringIO()
    for name, value, note in headline_numbers(words, report):
        out.write(f"| {name} | {value} {('(' + note + ')') if note else ''} |\n")
    for name, value in facts_rows(words, report):
        out.write(f"| {name} | {value} |\n")
    refused = [
        f"| {words.number(n)} | {sayings.reason(words, r)} | {r} |"
        for r, n in report.fields_rejected.items()
    ]
    none = say("No field was refused.")
    steps = sayings.steps_with_commands(words, report, content.directory.name)
    return template("report.md").substitute(
        t_report=say("Slide report"),
        t_next=say("What to do now"),
        t_fields=say("Fields"),
        t_refused=say("Why they were refused, and what to do"),
        t_notes=say("Notes of the program, in English"),
        verdict_title=sayings.verdict_title(words, report),
        basis=sayings.basis(words, report),
        why=sayings.why(words, report),
        next="\n".join(f"{n}. {text} {cmd}".rstrip() for n, (text, cmd) in enumerate(steps, 1)),
        rows=out.getvalue().rstrip("\n"),
        fields_lead=fields_lead(words, content.totals),
        refused="\n".join(refused) or f"| 0 | {none} | |",
        warnings="\n".join(f"- {w}" for w in report.warnings) or "-",
        research_use=say(RESEARCH_USE),
    )
