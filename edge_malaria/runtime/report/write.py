"""The report directory: report.json, report.md, cells.csv and one self-contained HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_malaria.files import csv_text, new_file, write_json, write_text
from edge_malaria.records import RESEARCH_USE, SlideReport
from edge_malaria.runtime.report import html
from edge_malaria.runtime.report.advice import (
    basis_text,
    next_steps,
    verdict_title,
    warnings_of,
)
from edge_malaria.runtime.report.basis import ReportBasis, kept_basis
from edge_malaria.runtime.report.limit_plot import LimitRow
from edge_malaria.runtime.report.page import (
    facts_rows,
    fields_lead,
    page,
    reason_text,
    template,
)
from edge_malaria.runtime.report.views import write_views
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.site_profile import limit_table
from edge_malaria.runtime.slide.statistics import SlideResult, SlideStatistics
from edge_malaria.runtime.slide.totals import SlideTotals

CELL_COLUMNS = (
    "field", "index", "x0", "y0", "x1", "y1", "kind", "p_parasitized", "counted", "reason",
)  # fmt: skip
REPORT_SCHEMA_VERSION = 2
# Of the cells that are not flagged, so many with the highest scores are shown.
GALLERY_CELLS = 60


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
        warnings=tuple(warnings_of(facts.warnings, disagree=result.points_disagree)),
        elapsed_s=round(totals.elapsed_s, 3),
        details={
            "statistics": result.as_json(),
            "limits": [list(row) for row in limits],
            "fields_accepted": totals.accepted,
            "frames_of_counted_places": totals.skipped,
            "cells_doubtful": totals.doubtful,
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


def report_again(directory: Path, journal: Journal) -> SlideReport:
    """Writes the report anew from the journal alone, the decisions of readers included.

    Raises:
        UsageError, DataError: the journal holds no report line; see ``kept_basis``.
        StorageError: disk full or not writable.
    """
    basis = kept_basis(journal)
    totals = SlideTotals()
    shown = basis.settings.get("report", {}).get("gallery_cells", GALLERY_CELLS)
    for line in journal.fields():
        totals.add(line, shown)
    return report_of(directory, journal, totals, basis)[0]


def report_of(
    directory: Path, journal: Journal, totals: SlideTotals, basis: ReportBasis
) -> tuple[SlideReport, Path]:
    """Judges the slide, writes its report, and returns the record and the HTML page's path."""
    statistics = SlideStatistics(basis.errors, basis.rules)
    review = Review.of(journal)
    result = statistics.result(
        totals.count, basis.rbc_per_ul, review.count(basis.errors.upper_from)
    )
    share = len(review.cells) / totals.cells if totals.cells else None
    rows = limit_table(statistics, flagged=share)
    report = slide_report(totals, result, basis, rows)
    return report, write_report(directory, journal, totals, report, review)


def write_report(
    directory: Path, journal: Journal, totals: SlideTotals, report: SlideReport, review: Review
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
    write_text(directory / "report.md", _markdown(report, totals, directory.name))
    write_views(directory, review)
    path = directory / "report.html"
    write_text(path, page(directory, journal, totals, report, review))
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


def _markdown(report: SlideReport, totals: SlideTotals, directory: str) -> str:
    out = io.StringIO()
    for name, value, note in html.headline_numbers(report):
        out.write(f"| {name} | {value} {('(' + note + ')') if note else ''} |\n")
    for name, value in facts_rows(report):
        out.write(f"| {name} | {value} |\n")
    refused = [f"| {r} | {n} | {reason_text(r)} |" for r, n in report.fields_rejected.items()]
    return template("report.md").substitute(
        verdict_title=verdict_title(report),
        basis=basis_text(report),
        why=report.details["statistics"]["why"],
        next="\n".join(f"{n}. {step}" for n, step in enumerate(next_steps(report, directory), 1)),
        rows=out.getvalue().rstrip("\n"),
        fields_lead=fields_lead(totals),
        refused="\n".join(refused) or "| none | 0 | |",
        warnings="\n".join(f"- {w}" for w in report.warnings) or "None.",
        research_use=RESEARCH_USE,
    )
