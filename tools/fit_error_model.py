"""Writes the error model of a shipped classifier into its JSON and its bundle.

    python -m benchmarks.slides.laboratory_scores --data DATA -o RUN [--bundle BUNDLE]
    python -m tools.fit_error_model RUN [--name default] [--crossfit CROSSVAL_RUN --data DATA]

The record holds counts of scores by laboratory and slide (``runtime.slide.error_record``); fits are
computed from it on the device. Every laboratory's cells must have been scored by a network that had
not seen them. Of each source two thirds enter (every third picture, of cheap_rig every third slide,
is for reports only). Of the NIH patients: the validation patients by the network itself, or with
--crossfit train and validation patients by cross-fitted networks (what ``tools.build_models`` or
``tools.fine_tune_laboratories`` left in RUNS/<name>-crossfit); plain cells of infected patients
without those of suspect label; test patients never. Where slides are unknown, successive pictures
of at least 800 cells stand for one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.slides.laboratory_inputs import slide_names
from benchmarks.slides.laboratory_scores import (
    MALARIA_FREE,
    REPORT_ONLY,
    SourceScores,
    read_scores,
)
from benchmarks.slides.patient_scores import crossval_scores
from edge_malaria.bundle.contents import INDEX
from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.laboratories import report_units
from edge_malaria.errors import DataError
from edge_malaria.files import write_json
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.error_record import (
    THRESHOLDS,
    ErrorRecord,
    LaboratoryScores,
    SlideScores,
)

SLIDE_CELLS = 800
ASEXUAL = ("ring", "trophozoite", "schizont")


def part_of(source: str, scores: SourceScores, part: str) -> SourceScores:
    """The cells of a part: ``report``, ``fit`` or ``all``."""
    slides = slide_names(source, scores.names.tolist())
    report = report_units(slides)
    chosen = np.array([(slide in report) == (part == "report") for slide in slides], bool)
    return scores if part == "all" else scores.select(chosen)


def slides_of(source: str, scores: SourceScores, least: int = SLIDE_CELLS) -> dict[str, Floats]:
    """Probabilities by slide: successive pictures until ``least`` cells; cheap_rig by its names."""
    names = slide_names(source, scores.names.tolist())
    found: dict[str, list[Floats]] = {}
    current, count = "", least
    for index, name in enumerate(names):
        chances = scores.chances[scores.picture == index]
        if source == "cheap_rig":
            current = name
        elif count >= least:
            current, count = name, 0
        if len(chances):
            found.setdefault(current, []).append(chances)
            count += len(chances)
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    names = list(whole)
    if len(names) > 1 and source != "cheap_rig" and len(whole[names[-1]]) < least:
        last = whole.pop(names[-1])
        whole[names[-2]] = np.concatenate([whole[names[-2]], last])
    return whole


def _laboratory(
    name: str, slides: dict[str, Floats], thresholds: Sequence[float]
) -> LaboratoryScores:
    counted = (SlideScores.count(slide, p, thresholds) for slide, p in slides.items())
    return LaboratoryScores(name, tuple(counted))


def malaria_free(
    run: Path, thresholds: Sequence[float], part: str = "fit"
) -> list[LaboratoryScores]:
    """Each laboratory without malaria of which RUN holds scores."""
    labs: dict[str, list[SlideScores]] = {}
    for source, laboratory in MALARIA_FREE.items():
        if source in REPORT_ONLY or not (run / f"{source}.npz").is_file():
            continue
        slides = slides_of(source, part_of(source, read_scores(run, source), part))
        labs.setdefault(laboratory, []).extend(_laboratory(source, slides, thresholds).slides)
    return [LaboratoryScores(name, tuple(slides)) for name, slides in labs.items()]


def patients_of(
    scores: SourceScores, *, doubtful: bool = True
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """(plain, parasitized) probabilities by NIH patient.

    Of infected patients' plain cells those of doubtful label are left out: many hold a parasite.
    ``doubtful``: whether parasitized cells of doubtful label are kept.
    """
    plain: dict[str, Floats] = {}
    parasitized: dict[str, Floats] = {}
    for index, name in enumerate(scores.names.tolist()):
        own = scores.picture == index
        healthy = own & (scores.labels == "plain")
        if name.startswith("H"):
            healthy = own
        kept = ("parasitized", "parasitized-doubtful") if doubtful else ("parasitized",)
        sick = own & np.isin(scores.labels, kept)
        if healthy.any():
            plain[name] = scores.chances[healthy]
        if sick.any() and not name.startswith("H"):
            parasitized[name] = scores.chances[sick]
    return plain, parasitized


def error_record(
    run: Path, thresholds: Sequence[float], patients: tuple[dict[str, Floats], dict[str, Floats]]
) -> ErrorRecord:
    """The record from RUN's scores and the NIH patients'."""
    healthy = malaria_free(run, thresholds)
    parasitized = [_laboratory("nih", patients[1], thresholds)]
    healthy.append(_laboratory("nih", patients[0], thresholds))
    if (run / "iml.npz").is_file():
        iml = part_of("iml", read_scores(run, "iml"), "fit")
        plain = np.where(iml.labels == "red blood cell", iml.chances, np.nan)
        shown = SourceScores(
            plain[np.isfinite(plain)], iml.picture[np.isfinite(plain)],
            iml.labels[np.isfinite(plain)], iml.names, iml.reasons, iml.sha256,
        )  # fmt: skip
        healthy.append(_laboratory("iml", slides_of("iml", shown), thresholds))
        sick = iml.chances[np.isin(iml.labels, ASEXUAL)]
        parasitized.append(_laboratory("iml", {"iml": sick}, thresholds))
    names = ", ".join(lab.name for lab in healthy)
    how = (
        f"laboratories {names}: two thirds of each source, scored by networks that had not seen "
        "them; cells cut by the bundle's finder, the quality gate off"
    )
    return ErrorRecord(tuple(thresholds), tuple(healthy), tuple(parasitized), how)


def thresholds_of(decision: DecisionRecord) -> tuple[float, ...]:
    """Where counts are kept: the usual thresholds and the bundle's own operating points."""
    own = set(decision.thresholds.values())
    return tuple(sorted({*THRESHOLDS, *own}))


def main() -> None:
    """Fits and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="where laboratory_scores wrote")
    parser.add_argument("--name", default="default", help="shipped model")
    parser.add_argument("--crossfit", type=Path, help="run directory of a cross-validation")
    parser.add_argument("--data", type=Path, help="needed with --crossfit")
    options = parser.parse_args()
    directory = shipped_bundle(options.name)
    bundle = read_bundle(directory)
    scores = read_scores(options.run, "val")
    sha = bundle.deciding_sha256("int8", "litert")
    if scores.sha256 != sha:
        raise DataError(f"{options.run}: scores of file {scores.sha256[:12]}, expected {sha[:12]}.")
    patients = patients_of(scores)
    if options.crossfit and (options.crossfit / "crossfit.npz").is_file():
        patients = patients_of(read_scores(options.crossfit, "crossfit"))
    elif options.crossfit:
        decision = bundle.classifier.decision
        if decision.flagged_views > 1 or decision.second_from is not None:
            raise DataError(
                f"{options.crossfit} holds first answers alone, and {options.name} asks flagged "
                "cells again. Leave out --crossfit: the validation patients' scores then stand."
            )
        splits = {"train", "val"}
        patients = crossval_scores(options.crossfit, options.data, splits, plain=True)
    record = error_record(options.run, thresholds_of(bundle.classifier.decision), patients)
    beside = directory.parent / f"{options.name}.json"
    source = json.loads(beside.read_text())
    source["decision"]["error_model"] = record.as_json()
    write_json(beside, source)
    index = json.loads((directory / INDEX).read_text())
    index["models"]["classifier"]["decision"]["error_model"] = record.as_json()
    write_index(directory, index)
    for lab in record.healthy:
        print(f"{lab.name}: {len(lab.slides)} slides, {lab.cells} cells without malaria")
    for lab in record.parasitized:
        print(f"{lab.name}: {len(lab.slides)} slides, {lab.cells} parasitized cells")


if __name__ == "__main__":
    main()
