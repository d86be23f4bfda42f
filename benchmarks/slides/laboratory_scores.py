"""Scores of every cell of the given sources by one bundle -> RUN/<source>.npz, for the error model.

    python -m benchmarks.slides.laboratory_scores --data DATA -o RUN [--bundle BUNDLE] [--only A,B]
        [--left-out LABORATORY=FILE[,SECOND] ...] [--cells DIR]

Each picture goes through finder and classifier with the quality gate's word kept beside it. The
classifier that ships is trained on NIH patients and on parts of some sources; such a source must be
scored by a network that has not seen it: --left-out names the float network of each such laboratory
(``tools.fine_tune_laboratories --without``), and SECOND that of the network that is asked about
flagged cells; both are calibrated on the NIH validation patients.
A source that is there already is not scored again. iml's and bbbc041's cells carry the label of the
box that they match; westlake is one slide of crops, isolated by the field segmenter (both are for
reports only). Cutting takes most of the time: with --cells the inputs are kept in DIR and serve
every network with the same finder and preparation.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import shipped_sha256
from benchmarks.slides.laboratory_inputs import CutCells, kept_cells
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle, ModelSpec
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.errors import DataError
from edge_malaria.files import sha256_of, write_bytes
from edge_malaria.prepare.contract import Target
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.classify.second_network import SecondNetwork
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import open_engine

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
    out = io.BytesIO()
    np.savez_compressed(out, **vars(scores))
    write_bytes(run / f"{source}.npz", out.getvalue())


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


def left_out_scorer(bundle: Bundle, files: str, data: Path) -> Scorer:
    """Float networks in the place of the bundle's, calibrated on the NIH validation patients.

    Args:
        bundle: whose preparation and finder are used.
        files: ``FILE``, or ``FILE,SECOND`` where the bundle has a second network.
        data: the folder with ``nih``.

    Raises:
        DataError: the bundle has a second network and none is given in its place.
    """
    first, _, second = files.partition(",")
    network = Path(first)
    engine, own = _calibrated(bundle.classifier, network, data)
    answers = None
    if bundle.second is not None:
        if not second:
            raise DataError(f"{files}: expected a second network beside it (FILE,SECOND).")
        calibrated = _calibrated(bundle.second.classifier, Path(second), data)
        answers = SecondNetwork(*calibrated, own).logits
    classifier = Classifier(
        replace(bundle, models={**bundle.models, "classifier": own}),
        operating_point="screening",
        with_engine=engine,
        second=answers,
    )
    return Scorer(bundle, classifier, sha256_of(network))


def _calibrated(spec: ModelSpec, network: Path, data: Path) -> tuple[Engine, ModelSpec]:
    """A float network on an engine, and ``spec`` with its own temperature and bias."""
    from converters.to_tflite import convert
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from edge_malaria.training.classifier.calibrate import fit_platt

    engine = open_engine(convert(strip_fake_quant(load_model(network)), "float32"), "litert", 1)
    inputs, labels = _validation_cells(data, spec.target)
    parts = [
        engine.run(inputs[start : start + 512]).reshape(-1) for start in range(0, len(inputs), 512)
    ]
    temperature, bias = fit_platt(np.concatenate(parts), labels)
    return engine, replace(
        spec, decision=replace(spec.decision, temperature=temperature, bias=bias)
    )


@cache
def _validation_cells(data: Path, target: Target) -> tuple[Image, NDArray[np.int64]]:
    """(uint8 [N, S, S, 3], labels int64 [N]) of the NIH validation patients; not to be changed."""
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    tables = SlideTables(dataset, target)
    rows = [row for row in dataset.rows if row.split == "val"]
    labels = np.array([row.label for row in rows], np.int64)
    return np.stack([tables.input(row) for row in rows]), labels


def score(scorer: Scorer, cut: CutCells) -> SourceScores:
    """What a classifier says of each cell."""
    chances: list[float] = []
    for start in range(0, len(cut.inputs), 512):
        batch = cut.inputs[start : start + 512]
        chances += [p.p_parasitized for p in scorer.classifier.predict_inputs(batch)]
    return SourceScores(
        np.asarray(chances, np.float64), cut.picture, cut.labels, cut.names, cut.reasons,
        scorer.sha256,
    )  # fmt: skip


def main() -> None:
    """Scores what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--only", default="", help="sources, with commas")
    parser.add_argument(
        "--left-out", action="append", default=[], metavar="LABORATORY=FILE[,SECOND]"
    )
    parser.add_argument("--cells", type=Path, help="where inputs are kept between networks")
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
            scorer = left_out_scorer(bundle, network, options.data)
        scores = score(scorer, kept_cells(bundle, options.data, source, options.cells))
        write_scores(options.output, source, scores)
        print(source, len(scores.names), "pictures,", len(scores.chances), "cells", flush=True)


if __name__ == "__main__":
    main()
