"""Network inputs of what is no red cell, and of other laboratories' red cells, from field sets.

Two ways of cutting: ``box``, the annotated box isolated as ``--mask auto`` does; ``finder``, what
the field path itself hands to the classifier, whatever the finder calls it. ``fit`` is two thirds
of the files and may choose settings, ``report`` the last third, for figures only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.fields.cell_truth import boxes_of, files_of, inside_field, read_annotations
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.laboratories import Part
from edge_malaria.files import read_image
from edge_malaria.prepare.isolate import isolate_central_cell
from edge_malaria.prepare.preprocess import field_inputs, network_input
from edge_malaria.prepare.stain import SlideColour
from edge_malaria.records import Image
from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.runtime.detect.opening import default_finder

BOXED = ("bccd", "draaslan256")
FOUND = ("bccd", "draaslan256", "chula", "iml")
WORDS = {"WBC": "white cells", "Platelets": "platelets", "RBC": "red cells"}
ASEXUAL = ("ring", "trophozoite", "schizont")


def boxed_inputs(data: Path, name: str, part: Part, size_px: int) -> dict[str, Image]:
    """Annotated boxes, isolated: kind -> uint8 [N, S, S, 3]."""
    folder = data / "fields" / name
    rows = read_annotations(folder)
    found: dict[str, list[Image]] = {}
    for path in files_of(folder, part):
        image = read_image(path)
        own = rows.get(path.name, [])
        boxes = boxes_of(own)
        for row, box, whole in zip(own, boxes, inside_field(boxes, image), strict=True):
            x0, y0, x1, y1 = (max(0, round(value)) for value in box.tolist())
            if not whole or min(x1 - x0, y1 - y0) < 8:
                continue
            crop, mask = isolate_central_cell(np.ascontiguousarray(image[y0:y1, x0:x1]))
            found.setdefault(WORDS[row["label"]], []).append(network_input(crop, size_px, mask))
    return {f"{kind}, {name}, box": np.stack(inputs) for kind, inputs in found.items()}


def found_inputs(data: Path, name: str, part: Part, size_px: int) -> dict[str, Image]:
    """Cells of the field path: kind -> uint8 [N, S, S, 3].

    A cell is white or a platelet where the annotation says so (its box overlaps at IoU >= 0.4) and
    red where the finder counts it as red and no such box contradicts; in iml it takes its stage
    from the box, and cells without a box are left out.
    """
    folder = data / "fields" / name
    rows = read_annotations(folder)
    bundle = read_bundle(shipped_bundle())
    finder, target, slide = default_finder(bundle), bundle.classifier.target, SlideColour()
    found: dict[str, list[Image]] = {}
    for path in files_of(folder, part):
        image = read_image(path)
        cells = finder.find(image)
        own = [row for row in rows.get(path.name, []) if row.get("w")]
        boxes = boxes_of(own)
        cut = np.array([cell.box for cell in cells], np.float64).reshape(-1, 4)
        overlap = box_iou(cut, boxes) if len(boxes) and len(cut) else np.zeros((len(cut), 1))
        for cell, given, inputs in zip(
            cells, overlap, field_inputs(image, cells, target, slide), strict=True
        ):
            label = own[int(given.argmax())]["label"] if given.max() >= 0.4 else ""
            kind = _kind(name, label, cell.counted)
            if kind and cell.reason != "border":
                found.setdefault(kind, []).append(inputs)
    return {f"{kind}, {name}, finder": np.stack(inputs) for kind, inputs in found.items()}


def _kind(name: str, label: str, counted: bool) -> str:
    if label in ("WBC", "Platelets"):
        return WORDS[label] + (" taken for red" if counted else "")
    if not counted:
        return ""
    if name != "iml":
        return "red cells"
    if label in ASEXUAL:
        return "parasitized red cells"
    return "red cells" if label == "red blood cell" else ""


def all_field_inputs(data: Path, part: Part, size_px: int) -> dict[str, Image]:
    """All groups of one part."""
    groups: dict[str, Image] = {}
    for name in BOXED:
        groups |= boxed_inputs(data, name, part, size_px)
    for name in FOUND:
        groups |= found_inputs(data, name, part, size_px)
    return groups
