"""docs/GALLERY.md and its pictures from real runs, by one command.

    python -m benchmarks.documents.gallery [--data DATA] [--run RUN] [--crossval RUN]

Everything in the docs is a plot, a table or a drawn cell. With ``--data`` the shipped models' ROC
curves on test patients are drawn anew (without it the stored plot stays), and pages of real cells
are written to RUN (default runs/gallery), which must be a folder that git ignores. ``--crossval``
names a run directory of ``edge-malaria crossval`` whose learning curves and ROC are shown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.documents.gallery_tables import (
    architectures,
    baselines,
    five_folds,
    protocol,
    segmentation,
)
from benchmarks.documents.markdown import evidence
from benchmarks.evidence_file import EVIDENCE, ROOT, commit
from edge_malaria.files import write_bytes, write_image, write_text

DOCS = ROOT / "docs"
PICTURES = DOCS / "gallery"
MOST_BYTES, MOST_BYTES_IN_ALL = 300_000, 1_500_000
MODELS = ("default", "micro")
OVERLAY_CELLS, OVERLAY_SEED = 6, 909
FIELD_SEEDS = (11, 12)
POINTS = ("screening", "balanced")
PAGE_CELLS = 96

Section = Callable[[argparse.Namespace], str]


def shown(name: str, words: str) -> str:
    """A picture of docs/gallery in Markdown."""
    return f"![{words}](gallery/{name})"


def learning_curves(given: argparse.Namespace) -> str:
    """``sequential3`` under its own protocol, and the folds of a cross-validation."""
    from edge_malaria.training.curves import plot_fold_curves

    parts = []
    found = evidence("literature")
    runs = found["sequential3_protocol"]["runs"] if found else []
    if found and runs:
        curves = {f"{run['split']} split, seed {run['seed']}": run["history"] for run in runs}
        title = "sequential3, 128 x 128, Adam, batch 16"
        plot_fold_curves(curves, PICTURES / "sequential3", title=title, suffixes=(".svg",))
        parts += [shown("sequential3.svg", "learning curves of sequential3"), protocol(found)]
    if given.crossval:
        folds = sorted(given.crossval.glob("fold*/history.json"))
        curves = {p.parent.name: json.loads(p.read_text(encoding="utf-8"))["float"] for p in folds}
        title = "one line a fold"
        plot_fold_curves(curves, PICTURES / "crossval-curves", title=title, suffixes=(".svg",))
        copied(given.crossval / "roc.svg", "crossval-roc.svg")
    for name, words in (
        ("crossval-curves.svg", "learning curves of a cross-validation by patient"),
        ("crossval-roc.svg", "ROC of each fold by patient"),
    ):
        if (PICTURES / name).is_file():
            parts.append(shown(name, words))
    return "\n\n".join(parts)


def copied(source: Path, name: str) -> None:
    """Copies a plot into the gallery."""
    if source.is_file():
        write_bytes(PICTURES / name, source.read_bytes())


def roc(given: argparse.Namespace) -> str:
    """The shipped models on test patients."""
    if given.data:
        from edge_malaria import evaluation
        from edge_malaria.bundle.format import read_bundle
        from edge_malaria.bundle.shipped import shipped_bundle
        from edge_malaria.data.dataset import open_dataset
        from edge_malaria.runtime.classify.classifier import Classifier
        from edge_malaria.training.curves import plot_roc

        test = open_dataset(given.data / "nih" / "cell_images.zip").select("test")
        answers = {}
        for name in MODELS:
            result = evaluation.run(Classifier(read_bundle(shipped_bundle(name))), test)
            clean = evaluation.without_suspect(result)
            answers[f"{name} int8"] = (result.truth, result.scores)
            answers[f"{name} int8, without suspect labels"] = (clean.truth, clean.scores)
            real_cells_page(given.run / f"errors-{name}.png", test, result)
        title = "cells of test patients"
        plot_roc(answers, PICTURES / "roc", title=title, suffixes=(".svg",))
    there = (PICTURES / "roc.svg").is_file()
    return shown("roc.svg", "ROC curves of the shipped models") if there else ""


def real_cells_page(path: Path, dataset: Any, result: Any) -> None:
    """The surest errors as a page of real cells, only where git does not see it."""
    ignored = subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=ROOT, check=False)
    if path.resolve().is_relative_to(ROOT) and ignored.returncode != 0:
        sys.exit(f"error: git would see {path}: real cells go to an ignored folder (--run).")
    wrong = np.flatnonzero(result.truth != result.positive)
    surest = wrong[np.argsort(-np.abs(result.scores[wrong] - 0.5), kind="stable")][:PAGE_CELLS]
    tiles = []
    for index in surest:
        tile = cv2.resize(dataset.read(result.rows[index]), (72, 72), interpolation=cv2.INTER_AREA)
        colour = (200, 60, 0) if result.truth[index] else (0, 90, 180)
        cv2.rectangle(tile, (0, 0), (71, 71), colour, 2)
        tiles.append(tile)
    blank = np.zeros((72, 72, 3), np.uint8)
    tiles += [blank] * (-len(tiles) % 12)
    if tiles:
        rows = [np.hstack(tiles[start : start + 12]) for start in range(0, len(tiles), 12)]
        write_image(path, np.vstack(rows))


def overlays(given: argparse.Namespace) -> str:
    """The parasite channel of the default network on drawn ring cells that it was not chosen on."""
    del given
    from edge_malaria.cli.explain import RINGS, RINGS_SEED
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from edge_malaria.runtime.explain.occlusion import inside_cell, paint
    from edge_malaria.training.activations import activations, drawn_rings, find_channel, peaks

    model = strip_fake_quant(load_model(ROOT / "edge_malaria" / "models" / "default.keras"))
    size = int(model.input.shape[1])
    chosen = find_channel(model, *drawn_rings(RINGS, size, RINGS_SEED))
    cells, boxes = drawn_rings(OVERLAY_CELLS, size, OVERLAY_SEED)
    [maps] = activations(model, [chosen.layer], cells)
    values = maps[..., chosen.index, None]
    inside = inside_cell(cells)
    places = peaks(values, inside)[:, 0]
    columns = []
    for cell, box, value, within, place in zip(cells, boxes, values, inside, places, strict=True):
        fine = cv2.resize(value[:, :, 0], (size, size), interpolation=cv2.INTER_LINEAR)
        at = (-size, -size) if np.isnan(place).any() else (place[0], place[1])
        drawn = paint(cell, np.where(within, fine, 0.0).astype(np.float32), at)
        plain = cv2.resize(cell, drawn.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        zoom = drawn.shape[0] / size
        corners = [round(float(value) * zoom) for value in box]
        cv2.rectangle(plain, tuple(corners[:2]), tuple(corners[2:]), (0, 114, 178), 2)
        columns.append(np.vstack([plain, drawn]))
    sheet = np.hstack(columns)
    sheet = cv2.resize(sheet, (900, round(900 * sheet.shape[0] / sheet.shape[1])))
    write_image(PICTURES / "overlay.png", np.asarray(sheet, np.uint8))
    words = (
        f"Top: drawn ring-stage cells with the parasite's box. Bottom: channel {chosen.index} of "
        f"layer `{chosen.layer}` with its peak. The channel was chosen on other drawn cells."
    )
    return words + "\n\n" + shown("overlay.png", "the parasite channel on drawn cells")


def drawn_fields(given: argparse.Namespace) -> str:
    """Drawn fields as the shipped finder and classifier see them."""
    del given
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.bundle.shipped import shipped_bundle
    from edge_malaria.prepare.preprocess import field_inputs
    from edge_malaria.runtime.classify.classifier import Classifier
    from edge_malaria.runtime.detect.opening import default_finder
    from edge_malaria.runtime.report.pictures import annotated
    from edge_malaria.synthetic import draw_field

    bundle = read_bundle(shipped_bundle())
    finder = default_finder(bundle)
    classifier = Classifier(bundle, operating_point="screening")
    parts = [
        "Vermilion: called parasitized at the screening threshold; blue: counted; grey: left out; "
        "yellow: white cell."
    ]
    for seed in FIELD_SEEDS:
        image, truth = draw_field(
            seed, width_px=800, height_px=600, cell_diameter_px=58, parasitemia=0.08
        )
        cells = finder.find(image)
        counted = [cell for cell in cells if cell.counted]
        inputs = field_inputs(image, counted, classifier.target)
        answers = iter(classifier.predict_inputs(inputs))
        predictions = [next(answers) if cell.counted else None for cell in cells]
        write_bytes(PICTURES / f"field-{seed}.jpg", annotated(image, 1.0, cells, predictions))
        chances = np.array([p.p_parasitized for p in predictions if p is not None])
        called = [int((chances >= bundle.classifier.threshold(p)).sum()) for p in POINTS]
        parts.append(
            f"Field {seed}: {len(truth.red_cells)} red cells drawn, {len(truth.parasitized)} with "
            f"a parasite; {len(counted)} counted, {called[0]} above the screening threshold, "
            f"{called[1]} above the balanced one.\n\n"
            + shown(f"field-{seed}.jpg", f"drawn field {seed}, annotated")
        )
    return "\n\n".join(parts)


def stored_plots(given: argparse.Namespace) -> str:
    """Plots that other evidence drew."""
    del given
    parts = []
    for name, words in (
        ("pareto", "accuracy against size and speed"),
        ("reliability-default", "reliability of the default model's probabilities"),
        ("pruning-micro-sensitivity", "what each layer loses by pruning"),
    ):
        places = (folder / f"{name}{s}" for folder in (DOCS, EVIDENCE) for s in (".svg", ".png"))
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            parts.append(f"![{words}]({path.relative_to(DOCS).as_posix()})")
    return "\n\n".join(parts)


SECTIONS: tuple[tuple[str, Section], ...] = (
    ("Learning curves", learning_curves),
    ("ROC of what ships", roc),
    ("The literature's networks", lambda given: architectures()),
    ("Five folds", lambda given: five_folds()),
    ("Classical methods", lambda given: baselines()),
    ("Inside the network", overlays),
    ("Drawn fields, screened", drawn_fields),
    ("Three ways to find cells", lambda given: segmentation()),
    ("Plots of other evidence", stored_plots),
)


def check_sizes() -> None:
    """Refuses pictures that would bloat the repository."""
    sizes = {path.name: path.stat().st_size for path in sorted(PICTURES.iterdir())}
    large = [name for name, size in sizes.items() if not (size <= MOST_BYTES)]
    if large or not (sum(sizes.values()) <= MOST_BYTES_IN_ALL):
        sys.exit(f"error: too large for the docs: {large or sizes}")


def main() -> int:
    """Draws what can be drawn and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with nih/cell_images.zip")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "gallery")
    parser.add_argument("--crossval", type=Path, help="a run directory of crossval")
    given = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = [
        "# Gallery",
        "",
        "Written by `python -m benchmarks.documents.gallery`; do not edit. Plots and tables come "
        f"from docs/evidence (commit {commit()}), pictures of cells are drawn, none is real.",
        "For research use only. Not for use in diagnostic procedures.",
    ]
    for title, section in SECTIONS:
        body = section(given)
        print(f"{title}: {'drawn' if body else 'nothing to show yet'}")
        if body:
            page += ["", f"## {title}", "", body]
    write_text(DOCS / "GALLERY.md", "\n".join(page) + "\n")
    check_sizes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
