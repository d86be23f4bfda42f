"""A pipeline over a drawn slide with a classifier that knows the truth, and its report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.records import Image, Prediction
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.report.basis import ReportBasis, ReportFacts, keep_basis
from edge_malaria.runtime.report.write import report_of
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions, SlidePipeline
from edge_malaria.runtime.slide.error_record import ErrorRecord
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.statistics import VerdictRules, fit_false_positives
from tests.cli import validate

LIKELY_FROM = 0.4
SIM = "sim:parasitemia=0.2,fields=4,seed=5,width=640,height=480,cell_diameter_px=55"


class DarkSpots:
    """Calls a cell parasitized by how dark its darkest twentieth is; needs no network."""

    target = 32

    def predict_inputs(self, batch: Image) -> list[Prediction]:
        """uint8 [N, 32, 32, 3] -> predictions."""
        found = []
        for cell in batch:
            grey = cell[cell.sum(2) > 0][:, 0]
            depth = float(np.median(grey) - np.percentile(grey, 5)) if grey.size else 0.0
            p = float(1 / (1 + np.exp(-(depth - 55) / 6)))
            found.append(Prediction(p, p >= 0.5, "parasitized" if p >= 0.5 else "uninfected", p))
        return found


def pipeline(
    directory: Path, *, resume: bool = False, options: ScreenOptions | None = None
) -> SlidePipeline:
    """A pipeline into ``directory``."""
    journal = Journal(directory, HeaderLine((SIM,), ""), resume=resume)
    made = SlidePipeline(
        directory,
        journal,
        ClassicalFinder(),
        DarkSpots(),
        ScreenConfig(),
        options or ScreenOptions(likely_from=LIKELY_FROM),
    )
    if resume:
        made.resume()
    return made


def basis() -> ReportBasis:
    """What a report of the drawn slide rests on: a site of which much is known."""
    fit = fit_false_positives([(0, 300)] * 40, [(90, 100)] * 20)
    record = ErrorRecord.of_fit(replace(fit, quantity=fit, quantity_threshold=0.4), 0.5)
    facts = ReportFacts(
        "sim <b>& co</b>", "m", "1", "int8", "litert", "classical", "0" * 64, 0.5, LIKELY_FROM,
        ("mind <this> & that",),
    )  # fmt: skip
    return ReportBasis(facts, record.errors(0.5, 0.4), VerdictRules(), 5e6, {})


def written(directory: Path, made: SlidePipeline) -> dict[str, Any]:
    """Writes the report and returns report.json."""
    keep_basis(made.journal, basis())
    report, _ = report_of(directory, made.journal, made.totals, basis())
    validate({"schema_version": 1, **report.as_json()}, "screen")
    made.journal.close()
    document: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return document


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs between two runs of one slide."""
    return {k: v for k, v in document.items() if k not in ("created", "elapsed_s")}
