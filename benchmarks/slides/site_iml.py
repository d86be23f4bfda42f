"""iml as a site, whole path, with a reader who knows the boxes -> docs/evidence/site_iml.json.

    python -m benchmarks.slides.site_iml --data DATA

Of two thirds of the fields, those without a box of a parasite are the site's slides free of malaria
(successive pictures stand for five slides: slides are unknown); those with parasites are, in the
second profile, one slide with malaria, reviewed. The report third is screened as one slide with
each profile, the quality gate off, and its flagged cells are read by the boxes: asexual stages are
parasites, gametocytes are left out of a parasitemia and not confirmed. One day's session of one
laboratory: says nothing of others.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.fields.cell_truth import boxes_of, files_of, match, read_annotations
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.records import SlideReport
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import ScreenCall, bundle_sha256, screen
from edge_malaria.runtime.screen.slide_errors import bundle_errors
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.slide.site_profile import SiteProfile
from edge_malaria.runtime.slide.site_slides import SiteSlide, check_slides, fit_site, read_slide
from edge_malaria.runtime.sources.opening import open_source

ASEXUAL = ("ring", "trophozoite", "schizont")
# Hardly a field of iml is without a parasite: the fewest slides that make a site.
SLIDES = 5
Truth = dict[str, list[dict[str, str]]]


def screened(
    bundle: Bundle, files: Sequence[Path], directory: Path, site: SiteProfile | None = None
) -> SlideReport:
    """Some pictures as one slide, the quality gate off."""
    threshold = None if site is None else site.screening
    classifier = Classifier(bundle, operating_point="screening", threshold=threshold)
    names = [str(file) for file in files]
    call = ScreenCall(directory, tuple(names), 5e6, site=site)
    options = ScreenOptions(quality_gate=False)
    return screen(open_source(names), bundle, classifier, call, load_config(), options).report


def parasitemia_of(truth: Truth, files: Sequence[Path]) -> float:
    """Asexual parasites among the boxed red cells."""
    labels = [row["label"] for file in files for row in truth.get(file.name, [])]
    sick = sum(label in ASEXUAL for label in labels)
    return sick / (sick + labels.count("red blood cell"))


def read_by_boxes(truth: Truth, directory: Path) -> SlideReport:
    """Judges every flagged cell by the box that it matches, and writes the report."""
    session = ReviewSession(directory)
    try:
        for cell in session.cells:
            rows = truth.get(Path(cell.field).name, [])
            found = np.array([cell.box], np.float64)
            labels = [rows[a]["label"] for a, _ in match(boxes_of(rows), found)]
            word = "parasite" if set(labels) & set(ASEXUAL) else "no-parasite"
            session.decide(cell.field, cell.index, word, "Boxes")  # type: ignore[arg-type]
        return session.write_report()
    finally:
        session.close()


def record_of(report: SlideReport, truth: float) -> dict[str, Any]:
    """What is told of one slide."""
    return {
        "cells": report.cells_counted,
        "looks_parasitized": report.cells_positive,
        "verdict": report.verdict,
        "basis": report.basis,
        "cause": report.details["statistics"]["cause"],
        "review": dict(report.review),
        "parasitemia": report.parasitemia,
        "ci95": None if report.ci95 is None else list(report.ci95),
        "relative_error": None if report.parasitemia is None else report.parasitemia / truth - 1,
        "limit_of_detection": report.details["statistics"]["limit_of_detection"],
        "limit_of_detection_reviewed": report.details["statistics"]["limit_of_detection_reviewed"],
    }


def site_slides(
    bundle: Bundle, truth: Truth, files: Sequence[Path], folder: Path
) -> tuple[list[SiteSlide], SiteSlide]:
    """(slides without malaria, the slide with, reviewed) of the fit's two thirds."""
    calm: list[Path] = []
    sick: list[Path] = []
    for file in files:
        labels = {row["label"] for row in truth.get(file.name, [])}
        (sick if labels & {*ASEXUAL, "gametocyte", "difficult"} else calm).append(file)
    groups = [[calm[i] for i in part] for part in np.array_split(np.arange(len(calm)), SLIDES)]
    slides = []
    for number, group in enumerate(groups):
        screened(bundle, group, folder / f"n{number}")
        slides.append(read_slide(folder / f"n{number}"))
    screened(bundle, sick, folder / "positive")
    read_by_boxes(truth, folder / "positive")
    return slides, read_slide(folder / "positive")


def profiles(bundle: Bundle, calm: list[SiteSlide], sick: SiteSlide) -> dict[str, SiteProfile]:
    """The site's profile without and with its slide of known parasitemia."""
    check_slides(calm, [sick], bundle_sha256(bundle))
    flagged_from = bundle.classifier.threshold("balanced")
    kinds: dict[str, list[tuple[SiteSlide, float | None]]] = {
        "negatives": [],
        "and a positive": [(sick, None)],
    }
    return {
        kind: fit_site(bundle_errors(bundle), calm, known, flagged_from).profile(
            kind, bundle_sha256(bundle), calm[0].conditions
        )
        for kind, known in kinds.items()
    }


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    folder = options.data / "fields" / "iml"
    truth, report_files = read_annotations(folder), files_of(folder, "report")
    share = parasitemia_of(truth, report_files)
    figures: dict[str, Any] = {
        "classifier_sha256": shipped_sha256(options.bundle),
        "truth": share,
        "slides": {},
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        calm, sick = site_slides(bundle, truth, files_of(folder, "fit"), work)
        found = profiles(bundle, calm, sick)
        figures["site"] = {"slides": len(calm), "cells": sum(len(s.chances) for s in calm)}
        sites: dict[str, SiteProfile | None] = {"no site": None, **found}
        for number, (kind, site) in enumerate(sites.items()):
            directory = work / f"report{number}"
            alone = record_of(screened(bundle, report_files, directory, site), share)
            read = record_of(read_by_boxes(truth, directory), share)
            figures["slides"][kind] = {"alone": alone, "reader": read}
            if site is not None:
                figures["slides"][kind]["thresholds"] = [site.balanced, site.screening]
            print(kind, figures["slides"][kind], flush=True)
    if not options.dry:
        write_evidence("site_iml", "python -m benchmarks.slides.site_iml --data DATA", figures)


if __name__ == "__main__":
    main()
