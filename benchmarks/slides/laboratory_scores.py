"""Scores of every cell of the given sources by one bundle -> RUN/<source>.npz, for the error model.

    python -m benchmarks.slides.laboratory_scores --data DATA -o RUN [--bundle BUNDLE] [--only A,B]
        [--left-out LABORATORY=FILE ...]

Each picture goes through finder and classifier with the quality gate's word kept beside it. The
classifier that ships is taught on NIH patients; a source whose cells taught it must be scored by a
network that has not seen it: --left-out names the float network of each such laboratory
(``tools.fine_tune_laboratories --without``), which is calibrated on the NIH validation patients.
A source that is there
already is not scored again. iml's and bbbc041's cells carry the label of the box that they match;
westlake is one slide of crops, isolated by the field segmenter (both are for reports only).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.westlake import westlake_inputs, westlake_rows
from benchmarks.evidence_file import shipped_sha256
from benchmarks.fields.cell_truth import boxes_of, match, read_annotations
from edge_malaria.bundle.format import Bundle, read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import unit_of
from edge_malaria.data.stains import SlideTables
from edge_malaria.files import read_image, sha256_of, write_bytes
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.runtime.quality.field_quality import QualityLimits
from edge_malaria.runtime.screen.field_look import FieldLook, view_of

# Sources without malaria, and the laboratory that each belongs to.
MALARIA_FREE = {
    "bccd": "bccd",
    "chula": "chula",
    "chula_more": "chula",
    "chula_disease": "chula",
    "cheap_rig": "cheap_rig",
    "draaslan256": "draaslan256",
    "pbc": "pbc",
    "raabin": "raabin",
    "phone_eyepiece": "phone_eyepiece",
}
# Sources with malaria, their cells labelled.
MALARIA = ("iml", "bbbc041", "westlake")
# Only read for reports: a hidden malaria case is possible, terms are not stated.
REPORT_ONLY = ("phone_eyepiece",)


@dataclass(frozen=True, eq=False)
class SourceScores:
    """The counted cells of one source.

    Attributes:
        chances: float64 [N], probabilities.
        picture: int64 [N], index into ``names``.
        labels: str [N], the truth where the source has one, else "".
        names: str [P], file names (or patients) in order; pictures without cells included.
        reasons: str [P], why the quality gate would refuse the picture; "" where it would not.
        sha256: of the classifier's file.
    """

    chances: NDArray[np.float64]
    picture: NDArray[np.int64]
    labels: NDArray[np.str_]
    names: NDArray[np.str_]
    reasons: NDArray[np.str_]
    sha256: str

    def select(self, pictures: NDArray[np.bool_]) -> SourceScores:
        """The scores of some pictures (bool [P]); the others lose their cells."""
        kept = pictures[self.picture]
        return SourceScores(
            self.chances[kept], self.picture[kept], self.labels[kept],
            self.names, self.reasons, self.sha256,
        )  # fmt: skip


def read_scores(run: Path, source: str) -> SourceScores:
    """The stored scores of one source."""
    with np.load(run / f"{source}.npz", allow_pickle=False) as stored:
        return SourceScores(
            stored["chances"], stored["picture"], stored["labels"],
            stored["names"], stored["reasons"], str(stored["sha256"]),
        )  # fmt: skip


def write_scores(run: Path, source: str, scores: SourceScores) -> None:
    """Stores the scores of one source."""
    import io

    out = io.BytesIO()
    np.savez_compressed(out, **vars(scores))
    write_bytes(run / f"{source}.npz", out.getvalue())


def _labels(cells: list[Cell], rows: list[dict[str, str]]) -> list[str]:
    found = np.array([c.box for c in cells], np.float64).reshape(-1, 4)
    labels = [""] * len(cells)
    for a, b in match(boxes_of(rows), found):
        labels[b] = rows[a]["label"]
    return labels


class SlidePath:
    """The device's way from fields to scores, one slide at a time, the quality gate off."""

    def __init__(self, bundle: Bundle, classifier: Classifier) -> None:
        self.finder = default_finder(bundle)
        self.classifier = classifier
        self.next_slide()

    def next_slide(self) -> None:
        """What comes now is another slide: its own scale and colour."""
        self.look = FieldLook(self.finder, QualityLimits(), gate=False)
        self.colour = SlideColour()

    def score(self, image: Image) -> tuple[list[Cell], list[float], str]:
        """Counted cells, their probabilities, and what the quality gate would say."""
        view = view_of(image)
        quality = self.look.quality(view)
        image = view.corrected()
        cells = [c for c in self.look.cells(view, image, quality)[0] if c.counted]
        self.look.counted([c.box for c in cells])
        batch = field_inputs(image, cells, self.classifier.target, self.colour)
        chances = [p.p_parasitized for p in self.classifier.predict_inputs(batch)]
        return cells, chances, quality.reason


def slide_names(source: str, names: Sequence[str]) -> list[str]:
    """The slide of each picture where names tell it (cheap_rig), else the picture itself."""
    return [unit_of(source, name) for name in names]


@dataclass(frozen=True, eq=False)
class Scorer:
    """A classifier behind a bundle's finder, and the hash of its file."""

    bundle: Bundle
    classifier: Classifier
    sha256: str


def shipped_scorer(bundle: Bundle) -> Scorer:
    """The bundle's own classifier."""
    return Scorer(
        bundle, Classifier(bundle, operating_point="screening"), shipped_sha256(bundle.path)
    )


def left_out_scorer(bundle: Bundle, network: Path, data: Path) -> Scorer:
    """A float network in the place of the bundle's, calibrated on the NIH validation patients."""
    from converters.to_tflite import convert
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from edge_malaria.training.classifier.calibrate import fit_platt

    engine = open_engine(convert(strip_fake_quant(load_model(network)), "float32"), "litert", 1)
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    tables = SlideTables(dataset, bundle.classifier.target)
    rows = [row for row in dataset.rows if row.split == "val"]
    parts = [
        engine.run(np.stack([tables.input(row) for row in rows[start : start + 512]])).reshape(-1)
        for start in range(0, len(rows), 512)
    ]
    labels = np.array([row.label for row in rows], np.int64)
    temperature, bias = fit_platt(np.concatenate(parts), labels)
    spec = bundle.classifier
    own = replace(spec, decision=replace(spec.decision, temperature=temperature, bias=bias))
    classifier = Classifier(
        replace(bundle, models={**bundle.models, "classifier": own}),
        operating_point="screening",
        with_engine=engine,
    )
    return Scorer(bundle, classifier, sha256_of(network))


def score_fields(scorer: Scorer, folder: Path, *, labelled: bool) -> SourceScores:
    """Every picture of a folder of fields; where slides are unknown they share one scale."""
    path = SlidePath(scorer.bundle, scorer.classifier)
    truth = read_annotations(folder) if labelled else {}
    files = sorted((folder / "images").iterdir(), key=lambda file: file.name)
    slides = slide_names(folder.name, [file.name for file in files])
    chances: list[float] = []
    picture: list[int] = []
    labels: list[str] = []
    reasons: list[str] = []
    for index, file in enumerate(files):
        if folder.name == "cheap_rig" and index and slides[index] != slides[index - 1]:
            path.next_slide()
        cells, found, reason = path.score(read_image(file))
        chances += found
        reasons.append(reason)
        picture += [index] * len(cells)
        labels += _labels(cells, truth.get(file.name, [])) if labelled else [""] * len(cells)
    return _packed(scorer, chances, picture, labels, [f.name for f in files], reasons)


def score_patients(scorer: Scorer, data: Path, split: str) -> SourceScores:
    """The NIH patients of one split; labels ``plain``, ``parasitized``, ``*-doubtful``."""
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    classifier = scorer.classifier
    tables = SlideTables(dataset, classifier.target)
    rows = [row for row in dataset.rows if row.split == split and row.patient_id]
    names = sorted({str(row.patient_id) for row in rows})
    chances: list[float] = []
    for start in range(0, len(rows), 512):
        batch = np.stack([tables.input(row) for row in rows[start : start + 512]])
        chances += [p.p_parasitized for p in classifier.predict_inputs(batch)]
    labels = [
        ("parasitized" if row.label else "plain") + ("-doubtful" if row.suspect else "")
        for row in rows
    ]
    picture = [names.index(str(row.patient_id)) for row in rows]
    return _packed(scorer, chances, picture, labels, names, [""] * len(names))


def score_westlake(scorer: Scorer, folder: Path) -> SourceScores:
    """The other laboratory's slide; labels ``plain``, ``parasitized``."""
    classifier = scorer.classifier
    inputs = westlake_inputs(folder, classifier.target)
    chances: list[float] = []
    for start in range(0, len(inputs), 512):
        batch = inputs[start : start + 512]
        chances += [p.p_parasitized for p in classifier.predict_inputs(batch)]
    sick = [row["class"] == "Parasitized" for row in westlake_rows(folder)]
    labels = ["parasitized" if one else "plain" for one in sick]
    return _packed(scorer, chances, [0] * len(chances), labels, ["westlake"], [""])


def _packed(
    scorer: Scorer, chances: Any, picture: Any, labels: Any, names: Any, reasons: Any
) -> SourceScores:
    return SourceScores(
        np.asarray(chances, np.float64), np.asarray(picture, np.int64), np.asarray(labels, np.str_),
        np.asarray(names, np.str_), np.asarray(reasons, np.str_), scorer.sha256,
    )  # fmt: skip


def main() -> None:
    """Scores what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--only", default="", help="sources, with commas")
    parser.add_argument("--left-out", action="append", default=[], metavar="LABORATORY=FILE")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(options.bundle)
    shipped = shipped_scorer(bundle)
    left_out = dict(entry.split("=", 1) for entry in options.left_out)
    every = ["val", "test", *MALARIA, *MALARIA_FREE]
    for source in options.only.split(",") if options.only else every:
        if (options.output / f"{source}.npz").is_file():
            continue
        scorer = shipped
        if (network := left_out.get(MALARIA_FREE.get(source, ""))) is not None:
            scorer = left_out_scorer(bundle, Path(network), options.data)
        if source in ("val", "test"):
            scores = score_patients(scorer, options.data, source)
        elif source == "westlake":
            scores = score_westlake(scorer, options.data / "westlake")
        else:
            folder = options.data / "fields" / source
            scores = score_fields(scorer, folder, labelled=source in MALARIA)
        write_scores(options.output, source, scores)
        print(source, len(scores.names), "pictures,", len(scores.chances), "cells", flush=True)


if __name__ == "__main__":
    main()
