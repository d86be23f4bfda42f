"""A small screened slide for tests of the review: real finder, real files, no network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.report.basis import ReportBasis, ReportFacts, keep_basis
from edge_malaria.runtime.report.write import report_of
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions, SlidePipeline
from edge_malaria.runtime.slide.error_record import ErrorRecord
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.statistics import VerdictRules, fit_false_positives
from edge_malaria.runtime.sources.opening import open_source
from tests.runtime.report.drawn_report import DarkSpots

SIM = "sim:parasitemia=0.2,fields=4,seed=5,width=640,height=480,cell_diameter_px=55"
FLAGGED_FROM = 0.4


def screened(directory: Path, spec: str = SIM) -> Path:
    """Screens a drawn slide into ``directory`` and writes its report."""
    journal = Journal(directory, HeaderLine((spec,), ""))
    options = ScreenOptions(likely_from=FLAGGED_FROM)
    made = SlidePipeline(
        directory, journal, ClassicalFinder(), DarkSpots(), ScreenConfig(), options
    )
    made.run(open_source([spec]))
    fit = fit_false_positives([(0, 300)] * 40, [(90, 100)] * 20)
    record = ErrorRecord.of_fit(replace(fit, quantity=fit, quantity_threshold=FLAGGED_FROM), 0.5)
    facts = ReportFacts(
        spec, "m", "1", "int8", "litert", "classical", "0" * 64, 0.5, FLAGGED_FROM
    )  # fmt: skip
    errors = record.errors(0.5, FLAGGED_FROM)
    basis = ReportBasis(facts, errors, VerdictRules(min_cells=50, max_lod=0.5), 5e6, {})
    keep_basis(journal, basis)
    report_of(directory, journal, made.totals, basis)
    journal.close()
    return directory
