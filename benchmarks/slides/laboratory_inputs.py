"""The counted cells of each source as a network's inputs, cut once for all networks."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.westlake import westlake_inputs, westlake_rows
from benchmarks.fields.cell_truth import boxes_of, match, read_annotations
from edge_malaria import prepare
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import unit_of
from edge_malaria.data.stains import SlideTables
from edge_malaria.files import read_image, write_bytes
from edge_malaria.prepare.contract import preparation
from edge_malaria.prepare.preprocess import field_inputs
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.records import Cell, Image
from edge_malaria.runtime import detect, quality
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.quality.field_quality import QualityLimits
from edge_malaria.runtime.screen.field_judge import FieldJudge, view_of

# Folders of fields whose boxes carry labels.
LABELLED = ("iml", "bbbc041")


@dataclass(frozen=True, eq=False)
class CutCells:
    """The counted cells of one source as a network's inputs.

    Attributes:
        inputs: uint8 [N, S, S, 3].
        picture, labels, names, reasons: as of ``laboratory_scores.SourceScores``.
    """

    inputs: Image
    picture: NDArray[np.int64]
    labels: NDArray[np.str_]
    names: NDArray[np.str_]
    reasons: NDArray[np.str_]

    @classmethod
    def of(
        cls,
        inputs: Image,
        picture: Sequence[int],
        labels: Sequence[str],
        names: Sequence[str],
        reasons: Sequence[str],
    ) -> CutCells:
        """From lists."""
        return cls(
            inputs, np.asarray(picture, np.int64), np.asarray(labels, np.str_),
            np.asarray(names, np.str_), np.asarray(reasons, np.str_),
        )  # fmt: skip


def _labels(cells: list[Cell], rows: list[dict[str, str]]) -> list[str]:
    found = np.array([c.box for c in cells], np.float64).reshape(-1, 4)
    labels = [""] * len(cells)
    for a, b in match(boxes_of(rows), found):
        labels[b] = rows[a]["label"]
    return labels


class SlidePath:
    """The device's way from fields to inputs, one slide at a time, the quality gate off."""

    def __init__(self, bundle: Bundle) -> None:
        self.finder = default_finder(bundle)
        self.target = bundle.classifier.target
        self.next_slide()

    def next_slide(self) -> None:
        """What comes now is another slide: its own scale and colour."""
        self.judge = FieldJudge(self.finder, QualityLimits(), gate=False)
        self.colour = SlideColour()

    def cut(self, image: Image) -> tuple[list[Cell], Image, str]:
        """Counted cells, their inputs, and what the quality gate would say."""
        view = view_of(image)
        quality = self.judge.quality(view)
        image = view.corrected()
        cells = [c for c in self.judge.cells(view, image, quality)[0] if c.counted]
        self.judge.counted([c.box for c in cells])
        return cells, field_inputs(image, cells, self.target, self.colour), quality.reason


def slide_names(source: str, names: Sequence[str]) -> list[str]:
    """The slide of each picture where names tell it (cheap_rig), else the picture itself."""
    return [unit_of(source, name) for name in names]


def cut_fields(bundle: Bundle, folder: Path, *, labelled: bool) -> CutCells:
    """Every picture of a folder of fields; where slides are unknown they share one scale."""
    path = SlidePath(bundle)
    truth = read_annotations(folder) if labelled else {}
    files = sorted((folder / "images").iterdir(), key=lambda file: file.name)
    slides = slide_names(folder.name, [file.name for file in files])
    inputs: list[Image] = []
    picture: list[int] = []
    labels: list[str] = []
    reasons: list[str] = []
    for index, file in enumerate(files):
        if folder.name == "cheap_rig" and index and slides[index] != slides[index - 1]:
            path.next_slide()
        cells, batch, reason = path.cut(read_image(file))
        inputs.append(batch)
        reasons.append(reason)
        picture += [index] * len(cells)
        labels += _labels(cells, truth.get(file.name, [])) if labelled else [""] * len(cells)
    return CutCells.of(np.concatenate(inputs), picture, labels, [f.name for f in files], reasons)


def cut_patients(bundle: Bundle, data: Path, split: str) -> CutCells:
    """The NIH patients of one split; labels ``plain``, ``parasitized``, ``*-doubtful``."""
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    tables = SlideTables(dataset, bundle.classifier.target)
    rows = [row for row in dataset.rows if row.split == split and row.patient_id]
    names = sorted({str(row.patient_id) for row in rows})
    labels = [
        ("parasitized" if row.label else "plain") + ("-doubtful" if row.suspect else "")
        for row in rows
    ]
    picture = [names.index(str(row.patient_id)) for row in rows]
    inputs = np.stack([tables.input(row) for row in rows])
    return CutCells.of(inputs, picture, labels, names, [""] * len(names))


def cut_westlake(bundle: Bundle, folder: Path) -> CutCells:
    """The other laboratory's slide; labels ``plain``, ``parasitized``."""
    inputs = westlake_inputs(folder, bundle.classifier.target)
    sick = [row["class"] == "Parasitized" for row in westlake_rows(folder)]
    labels = ["parasitized" if one else "plain" for one in sick]
    return CutCells.of(inputs, [0] * len(inputs), labels, ["westlake"], [""])


def cut_source(bundle: Bundle, data: Path, source: str) -> CutCells:
    """One source's cells as ``bundle`` finds and prepares them."""
    if source in ("val", "test"):
        return cut_patients(bundle, data, source)
    if source == "westlake":
        return cut_westlake(bundle, data / source)
    return cut_fields(bundle, data / "fields" / source, labelled=source in LABELLED)


@cache
def _code_sha256() -> str:
    """Of the code that judges a field, finds its cells and prepares them."""
    digest = hashlib.sha256()
    for package in (detect, quality, prepare):
        for file in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def kept_cells(bundle: Bundle, data: Path, source: str, folder: Path | None) -> CutCells:
    """The same, cut once for each finder, preparation and code where ``folder`` is given."""
    if folder is None:
        return cut_source(bundle, data, source)
    found = bundle.finder
    finder = "" if found is None else found.file("int8", "litert").sha256
    prepared = preparation(bundle.classifier.target).as_json()
    how = json.dumps([finder, prepared, _code_sha256()], sort_keys=True)
    path = folder / f"{source}-{hashlib.sha256(how.encode()).hexdigest()[:12]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return CutCells(**{key: stored[key] for key in stored.files})
    cut = cut_source(bundle, data, source)
    out = io.BytesIO()
    np.savez(out, **vars(cut))
    write_bytes(path, out.getvalue())
    return cut
