"""The cell finder of a bundle: its files against Keras's boxes and each other, on drawn fields.

What matters of a finder is not its numbers but whether the same cells are found. Keras's boxes are
stored when the bundle is exported (``golden/finder.npz``: ``boxes`` int32 [M, 4], ``field`` [M],
``fields_sha256`` of the fields they belong to); the fields are drawn again here.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import FOLDER, load_arrays
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import BundleIntegrityError, ModelShapeError
from edge_malaria.parity.dtypes import check_file_dtypes
from edge_malaria.parity.findings import REFERENCE, Failure, FinderPair, Findings
from edge_malaria.parity.names import check_file_names
from edge_malaria.parity.opened import OpenedFile, open_files
from edge_malaria.parity.shapes import check_file_shapes
from edge_malaria.parity.weights import check_file_weights
from edge_malaria.records import Image
from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.runtime.detect.learned import LearnedFinder
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.synthetic import draw_field

FILE = "finder.npz"
FIELDS, SEED = 8, 91_000
# Least share of the reference's red cells that a file finds at IoU 0.5, and the other way round.
# float32 differs by rounding alone; int8 moves a box by a pixel or loses a doubtful cell.
LEAST_AGREEMENT = {"float32": 0.999, "int8": 0.97}
LEAST_CELLS = 200
# Files of one network never lost this many cells; another network's, or a broken one, does.
_ANOTHER = 0.5

Boxes = tuple[NDArray[np.int32], ...]


@functools.lru_cache(maxsize=1)
def drawn_fields() -> tuple[Image, ...]:
    """The drawn fields that finders are judged on, uint8 [960, 1280, 3] each; not to be changed."""
    fields = tuple(draw_field(SEED + index)[0] for index in range(FIELDS))
    for image in fields:
        image.flags.writeable = False
    return fields


def fields_sha256(fields: Sequence[Image]) -> str:
    """Hash of the pixels of all fields."""
    digest = hashlib.sha256()
    for image in fields:
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def red_boxes(engine: Engine, fields: Sequence[Image]) -> Boxes:
    """The boxes of the red cells that a finder's engine finds, int32 [n, 4] a field."""
    finder = LearnedFinder(engine)
    found = ([c.box for c in finder.find(image) if c.kind == "red-cell"] for image in fields)
    return tuple(np.array(boxes, np.int32).reshape(-1, 4) for boxes in found)


def agreement(expected: Boxes, found: Boxes) -> float:
    """The smaller of recall and precision, boxes at IoU 0.5 or more; 0.0 where there are none."""
    matched = 0
    for theirs, ours in zip(expected, found, strict=True):
        if len(theirs) and len(ours):
            iou = box_iou(theirs.astype(np.float64), ours.astype(np.float64))
            # Counted from both sides, so that one box over two cells matches once.
            pairs = (iou.max(axis=1) >= 0.5).sum(), (iou.max(axis=0) >= 0.5).sum()
            matched += int(min(pairs))
    most = max(sum(map(len, expected)), sum(map(len, found)))
    return matched / most if most else 0.0


def golden_arrays(boxes: Boxes, fields: Sequence[Image]) -> dict[str, Any]:
    """What ``golden/finder.npz`` holds of Keras's boxes."""
    return {
        "boxes": np.concatenate(boxes),
        "field": np.repeat(np.arange(len(boxes), dtype=np.int16), [len(part) for part in boxes]),
        "fields_sha256": fields_sha256(fields),
    }


def _keras_boxes(contents: Mapping[str, bytes], fields: Sequence[Image]) -> Boxes | str:
    """Keras's stored boxes, or why they cannot be used."""
    if f"{FOLDER}/{FILE}" not in contents:
        return "the bundle stores none of Keras's boxes (exported by an earlier version)"
    stored = load_arrays(contents, FILE)
    try:
        boxes, which = stored["boxes"].astype(np.int32).reshape(-1, 4), stored["field"]
        sha256 = str(stored["fields_sha256"])
    except (KeyError, ValueError) as error:
        raise BundleIntegrityError(f"{FOLDER}/{FILE}: {error}. Export the bundle again.") from error
    if sha256 != fields_sha256(fields):
        return "fields are drawn otherwise here than where the bundle was exported"
    return tuple(boxes[which == index] for index in range(len(fields)))


def check_finder(bundle: Bundle, engines: Sequence[str], *, name_all: bool = True) -> Findings:
    """Opens every file of the finder that one of ``engines`` runs, and compares what they find.

    Args:
        bundle: with or without a finder.
        engines: that may run.
        name_all: list the files of other engines as not run.
    """
    if bundle.finder is None:
        return Findings()
    opened, findings = open_files(bundle, bundle.finder, engines, name_all=name_all)
    for file in opened.values():
        findings += check_file_names(file)
        findings += check_file_shapes(file)
        findings += check_file_dtypes(file)
        findings += check_file_weights(file)
    return findings + _compare(bundle, opened) if opened else findings


def _compare(bundle: Bundle, opened: Mapping[str, OpenedFile]) -> Findings:
    fields = drawn_fields()
    found: dict[str, Boxes] = {}
    findings = Findings()
    for name, file in opened.items():
        try:
            found[name] = red_boxes(file.engine, fields)
        except (BundleIntegrityError, ModelShapeError, ValueError, RuntimeError) as error:
            what, got = "finding the cells of drawn fields", str(error).partition("\n")[0][:200]
            findings += [Failure("tensors", file.spec.file, what, got, "boxes")]
    keras = _keras_boxes(bundle.contents, fields)
    if isinstance(keras, str):
        findings += Findings(not_run=(f"finder against keras: {keras}",))
    else:
        for name, boxes in found.items():
            findings += _judge(REFERENCE, keras, name, boxes, opened[name])
    names = list(found)
    first_float = next((name for name in names if name.endswith(".float32")), None)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            same = opened[first].variant == opened[second].variant
            # Without Keras the float file is the reference of all others.
            if same or (isinstance(keras, str) and first == first_float):
                findings += _judge(first, found[first], second, found[second], opened[second])
    if found and not findings.finder:
        findings += Findings(not_run=("finder: nothing to compare its only file with",))
    return findings


def _judge(
    reference: str, expected: Boxes, candidate: str, found: Boxes, file: OpenedFile
) -> Findings:
    least = LEAST_AGREEMENT.get(file.variant, LEAST_AGREEMENT["float32"])
    cells, share = sum(map(len, expected)), agreement(expected, found)
    pair = FinderPair(reference, candidate, len(expected), cells, share, least)
    subject, against = file.spec.file, f"those of {reference}"
    failures = []
    if not (cells >= LEAST_CELLS):
        what = f"red cells that {reference} finds in drawn fields"
        failures.append(Failure("tensors", subject, what, str(cells), f">= {LEAST_CELLS}"))
    if not pair.passed:
        what = f"cells found in {len(expected)} drawn fields"
        got, cause = f"{share:.2%} the same", ""
        if not (share >= _ANOTHER):
            cause = "another network's file, or weights lost in conversion"
        limit = f">= {least:.1%}"
        failures.append(Failure("tensors", subject, what, got, against, limit, cause))
    return Findings(failures=tuple(failures), finder=(pair,))
