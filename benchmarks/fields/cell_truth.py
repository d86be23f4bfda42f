"""Truth of field sets against found cells: reading annotations, matching, counting."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.laboratories import Part, field_files
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.cells import box_iou

Boxes = NDArray[np.float64]
PARASITIZED = {"ring", "trophozoite", "schizont", "gametocyte"}
LONG = "Elliptocyte"
# In radii: a red cell that overlaps a white one has its middle further out.
INNER = 0.7
RED = {"RBC", "red blood cell", "RBC_blob", *PARASITIZED}


def read_annotations(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of annotations.csv by image."""
    found: dict[str, list[dict[str, str]]] = {}
    with (folder / "annotations.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            found.setdefault(row["image"], []).append(row)
    return found


def files_of(folder: Path, part: Part) -> list[Path]:
    """The pictures of a part of the set in ``folder``, sorted by name."""
    return field_files(folder.parent, folder.name, part)


def boxes_of(rows: Iterable[dict[str, str]]) -> Boxes:
    """float64 [N, 4] of (x0, y0, x1, y1)."""
    values = [[float(row[key]) for key in ("x", "y", "w", "h")] for row in rows]
    boxes = np.array(values, np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def inside_field(boxes: Boxes, image: Image) -> NDArray[np.bool_]:
    """bool [N]: the box keeps more than a pixel's distance from the field's border.

    One pixel is not enough: some annotations count pixels from 1, so that 1 is the border.
    """
    height, width = image.shape[:2]
    low = (boxes[:, :2] > 1).all(1)
    return np.asarray(low & (boxes[:, 2] < width - 1) & (boxes[:, 3] < height - 1))


def match(truth: Boxes, found: Boxes) -> list[tuple[int, int]]:
    """Pairs (truth, found) at IoU >= 0.5, one to one, best first."""
    if not len(truth) or not len(found):
        return []
    iou = box_iou(truth, found)
    pairs = np.argwhere(iou >= 0.5)
    pairs = pairs[np.argsort(-iou[pairs[:, 0], pairs[:, 1]], kind="stable")]
    used_truth: set[int] = set()
    used_found: set[int] = set()
    taken = []
    for a, b in pairs.tolist():
        if a not in used_truth and b not in used_found:
            used_truth.add(a)
            used_found.add(b)
            taken.append((a, b))
    return taken


def red_boxes(cells: Iterable[Cell]) -> Boxes:
    """Boxes of everything the finder calls a red cell."""
    return np.array([c.box for c in cells if c.kind == "red-cell"], np.float64).reshape(-1, 4)


def holding(boxes: Boxes, found: Boxes) -> NDArray[np.bool_]:
    """bool [N]: the middle of one of ``found`` lies in the inner part of the box's ellipse.

    A white cell's lobe that counts as a red cell is far smaller than the white cell: IoU of the
    boxes does not see it.
    """
    if not len(found):
        return np.zeros(len(boxes), np.bool_)
    middle, centre = (found[:, :2] + found[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2
    radii = (boxes[:, 2:] - boxes[:, :2]) / 2
    far = np.hypot(*np.moveaxis((middle[:, None] - centre) / radii, -1, 0))
    return np.asarray((far < INNER).any(axis=0))


def count_boxed(image: Image, cells: list[Cell], rows: list[dict[str, str]]) -> Counter[str]:
    """Counts of one field with boxes."""
    boxes, labels = boxes_of(rows), np.array([row["label"] for row in rows])
    count: Counter[str] = Counter()
    whole = inside_field(boxes, image)
    red = np.flatnonzero(np.isin(labels, list(RED)) & whole)
    found = red_boxes(cells)
    found = found[inside_field(found, image)]
    pairs = match(boxes[red], found)
    hit = {int(red[a]) for a, _ in pairs}
    count.update(truth=len(red), found=len(found), matched=len(pairs))
    for index in red:
        if labels[index] in PARASITIZED:
            count.update(parasitized=1, parasitized_matched=int(index in hit))
            if labels[index] != "gametocyte":
                count.update(asexual=1, asexual_matched=int(index in hit))
    white = boxes[labels == "WBC"]
    counted = red_boxes(c for c in cells if c.counted)
    if len(white):
        taken = (box_iou(white, counted) >= 0.5).any(1).sum() if len(counted) else 0
        count.update(white=len(white), white_counted_as_red=int(taken))
        count.update(white_holding_red=int(holding(white, counted).sum()))
    return count


def count_points(cells: list[Cell], rows: list[dict[str, str]]) -> Counter[str]:
    """Counts of one field with centre points: in how many cells' masks, and boxes, each lies."""
    count: Counter[str] = Counter()
    red = [c for c in cells if c.kind == "red-cell"]
    for row in rows:
        x, y = int(float(row["x"])), int(float(row["y"]))
        holds = [c for c in red if c.box[0] <= x < c.box[2] and c.box[1] <= y < c.box[3]]
        masks = sum(bool(c.mask[y - c.box[1], x - c.box[0]]) for c in holds)
        count.update(points=1, in_one_mask=int(masks == 1), in_one_box=int(len(holds) == 1))
        count.update(in_no_cell=int(masks == 0), in_several=int(masks > 1))
        if row["label"] == LONG:
            count.update(long_points=1, long_in_one_mask=int(masks == 1))
    count.update(found=len(red))
    return count


def count_masked(image: Image, cells: list[Cell], mask: NDArray[np.uint8]) -> Counter[str]:
    """Counts of one thumbnail with masked parasites: more than half of each in a counted cell.

    A parasite in a cell that the border cuts is ignored like that cell, and told separately.
    """
    counted, cut = np.zeros((2, *image.shape[:2]), bool)
    for cell in cells:
        if cell.kind == "red-cell" and (cell.counted or cell.reason == "border"):
            x0, y0, x1, y1 = cell.box
            (counted if cell.counted else cut)[y0:y1, x0:x1] |= cell.mask
    number, parts, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    count: Counter[str] = Counter()
    for part in range(1, number):
        x, y, w, h, area = stats[part].tolist()
        box = np.array([[x, y, x + w, y + h]], np.float64)
        # Specks of a lossy mask and the long line of one picture are no parasites.
        if area < 30 or w > 4 * h or not inside_field(box, image)[0]:
            continue
        inside = counted[parts == part].mean() >= 0.5
        if not inside and cut[parts == part].mean() >= 0.5:
            count.update(parasites_in_cut_cells=1)
            continue
        count.update(parasites=1, parasites_inside=int(inside))
    count.update(found=len(red_boxes(cells)))
    return count


def rates(count: Counter[str]) -> dict[str, float]:
    """The figures that the counts allow, 0-1."""
    figures = {}
    for name, part, whole in (
        ("recall", "matched", "truth"),
        ("precision", "matched", "found"),
        ("recall_parasitized", "parasitized_matched", "parasitized"),
        ("recall_asexual", "asexual_matched", "asexual"),
        ("white_counted_as_red", "white_counted_as_red", "white"),
        ("white_holding_red", "white_holding_red", "white"),
        ("points_in_one_cell", "in_one_mask", "points"),
        ("points_in_one_box", "in_one_box", "points"),
        ("elliptocytes_in_one_cell", "long_in_one_mask", "long_points"),
        ("parasites_in_counted_cell", "parasites_inside", "parasites"),
    ):
        if count[whole] and (part in count):
            figures[name] = round(count[part] / count[whole], 4)
    if count["truth"]:
        both = count["truth"] + count["found"]
        figures["f1"] = round(2 * count["matched"] / both, 4)
    return figures
