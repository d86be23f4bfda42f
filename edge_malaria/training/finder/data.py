"""What the cell finder is fitted on: composed tiles and the fields whose licence allows it.

Of every field set only the files outside the report third are opened (sorted names, every third
is for reporting), and only of the sets in ``FIT_SETS``; ``fit_files`` refuses any other.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.laboratories import field_files
from edge_malaria.errors import UsageError
from edge_malaria.files import read_image
from edge_malaria.records import Image
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.light import absorbance, fill_centres, foreground, shrink
from edge_malaria.training.finder.scenes import (
    NOMINAL_DIAMETER_PX,
    PLATELET,
    RED,
    WHITE,
    FloatArray,
    Tile,
    absorbing_patch,
)

# MIT licence; see the data's README. iml, bbbc041 and the rest are for measuring only.
FIT_SETS = ("bccd", "chula", "draaslan256")
# Nothing finer is ever asked for: the nominal diameter at the strongest zoom.
LARGEST_DIAMETER_PX = 34.0
KINDS = {"RBC": RED, "WBC": WHITE, "Platelets": PLATELET}


@dataclass(frozen=True, eq=False)
class TruthField:
    """A whole field with boxes, as far as they are known.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        boxes: float32 [N, 4] px; kinds: int64 [N]; known: bool [N].
        cover: uint8 [H, W], as in ``Tile``.
        complete: bool [H, W], as in ``Tile``.
        diameter_px: of a typical red cell.
        boxed: False where the boxes are guesses around annotated points.
    """

    image: Image
    boxes: FloatArray
    kinds: NDArray[np.int64]
    known: NDArray[np.bool_]
    cover: NDArray[np.uint8]
    complete: NDArray[np.bool_]
    diameter_px: float
    boxed: bool = True


def fit_files(fields: Path, name: str) -> list[Path]:
    """The images of a field set that may be fitted on: two of three, by sorted name.

    Raises:
        UsageError: a set that must not be trained on.
        DatasetError: the set is not there.
    """
    if name not in FIT_SETS:
        raise UsageError(f"the field set {name} must not be trained on; expected one of {FIT_SETS}")
    return field_files(fields, name, "fit")


@cache
def _annotations(folder: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with (folder / "annotations.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            found.setdefault(row["image"], []).append(row)
    return found


def _inside(boxes: FloatArray, shape: tuple[int, ...], scale: float) -> NDArray[np.bool_]:
    """bool [H, W]: inside any box's ellipse, its axes times ``scale``."""
    canvas = np.zeros(shape[:2], np.uint8)
    for x0, y0, x1, y1 in boxes:
        centre = (int((x0 + x1) * 8), int((y0 + y1) * 8))
        axes = (int((x1 - x0) * 8 * scale), int((y1 - y0) * 8 * scale))
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, cv2.FILLED, shift=4)
    return np.asarray(canvas > 0, np.bool_)


def _classical_ground(image: Image, diameter: float) -> NDArray[np.bool_]:
    """bool [H, W]: what stands out of the empty slide, pale centres filled."""
    factor = min(1.0, 40.0 / diameter)
    small = shrink(image, factor)
    mask = foreground(np.asarray(absorbance(small).max(2), np.float32))
    mask = fill_centres(mask, 0.4 * (diameter * factor) ** 2)
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(mask.astype(np.uint8), size) > 0, np.bool_)


def boxed_field(path: Path, rows: Sequence[dict[str, str]], *, complete: bool) -> TruthField | None:
    """A field with boxes; None where it has no whole red cell to take the scale from."""
    image = read_image(path)
    height, width = image.shape[:2]
    corner = np.array([[float(r["x"]), float(r["y"])] for r in rows], np.float32)
    size = np.array([[float(r["w"]), float(r["h"])] for r in rows], np.float32)
    boxes = np.hstack([corner, corner + size])
    kinds = np.array([KINDS[r["label"]] for r in rows], np.int64)
    known = (boxes[:, :2].min(1) > 1) & (boxes[:, 2] < width - 1) & (boxes[:, 3] < height - 1)
    whole = known & (kinds == RED)
    if not whole.any():
        return None
    diameter = float(np.median(np.sqrt(np.prod(size[whole], axis=1))))
    ground = _classical_ground(image, diameter)
    cells = boxes[kinds != PLATELET]
    near, core = _inside(cells, image.shape, 1.02), _inside(cells, image.shape, 0.85)
    cover = np.full((height, width), 128, np.uint8)
    cover[~near & ~ground] = 0
    cover[core | (near & ground)] = 255
    named = _inside(boxes, image.shape, 1.1)
    whole_truth = np.ones((height, width), np.bool_) if complete else named | ~ground
    return TruthField(image, boxes, kinds, known, cover, whole_truth, diameter)


def pointed_field(path: Path, rows: Sequence[dict[str, str]]) -> TruthField | None:
    """A field with centre points: the classical finder's cells that hold exactly one point."""
    image = read_image(path)
    points = np.array([[float(r["x"]), float(r["y"])] for r in rows])
    boxes, cover = [], np.full(image.shape[:2], 128, np.uint8)
    cells = ClassicalFinder().find(image)
    sizes = [float(np.sqrt(c.mask.sum() * 4 / np.pi)) for c in cells if c.kind == "red-cell"]
    if not sizes:
        return None
    diameter = float(np.median(sizes))
    cover[~_classical_ground(image, diameter)] = 0
    for cell in cells:
        x0, y0, x1, y1 = cell.box
        inside = (points >= (x0, y0)).all(1) & (points < (x1, y1)).all(1)
        size = float(np.sqrt(cell.mask.sum() * 4 / np.pi))
        alone = inside.sum() == 1 and not cell.reason and 0.55 < size / diameter < 1.45
        round_enough = cell.mask.mean() > 0.68 and max(x1 - x0, y1 - y0) < 1.7 * min(
            x1 - x0, y1 - y0
        )
        if alone and round_enough:
            boxes.append(cell.box)
            cover[y0:y1, x0:x1][cell.mask] = 255
    if not boxes:
        return None
    found = np.array(boxes, np.float32)
    complete = _inside(found, image.shape, 1.1) | (cover == 0)
    count = len(found)
    kinds, known = np.full(count, RED, np.int64), np.ones(count, np.bool_)
    return TruthField(image, found, kinds, known, cover, complete, diameter, boxed=False)


def _at_most(field: TruthField, diameter_px: float) -> TruthField:
    """The field shrunk so that its red cells are at most ``diameter_px`` across."""
    factor = min(1.0, diameter_px / field.diameter_px)
    image = shrink(field.image, factor)
    size = (image.shape[1], image.shape[0])
    cover = cv2.resize(field.cover, size, interpolation=cv2.INTER_NEAREST)
    complete = cv2.resize(field.complete.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return TruthField(
        image,
        field.boxes * np.float32(factor),
        field.kinds,
        field.known,
        np.asarray(cover, np.uint8),
        np.asarray(complete > 0, np.bool_),
        field.diameter_px * factor,
        field.boxed,
    )


def read_fit_fields(fields: Path) -> list[TruthField]:
    """Every field that may be fitted on, with what is known of its cells."""
    found = []
    for name in FIT_SETS:
        rows = _annotations(fields / name)
        for path in fit_files(fields, name):
            mine = rows.get(path.name, [])
            if not mine:
                continue
            if name == "chula":
                field = pointed_field(path, mine)
            else:
                field = boxed_field(path, mine, complete=name == "draaslan256")
            if field is not None:
                found.append(_at_most(field, LARGEST_DIAMETER_PX))
    return found


def read_patches(dataset: Path, count: int, seed: int) -> NDArray[np.float32]:
    """Absorbance of real red cells of training patients, 2 of 5 parasitized: [N, P, P, 4]."""
    rows = open_dataset(dataset).select("train")
    rng = np.random.default_rng(seed)
    positive = [row for row in rows.rows if row.label]
    plain = [row for row in rows.rows if not row.label]
    chosen = [positive[i] for i in rng.permutation(len(positive))[: 2 * count // 5]]
    chosen += [plain[i] for i in rng.permutation(len(plain))[: count - len(chosen)]]
    return np.stack([absorbing_patch(rows.read(row)) for row in chosen])


def real_tile(rng: np.random.Generator, field: TruthField, size_px: int) -> Tile:
    """A random window of a real field, zoomed, turned, mirrored and recoloured."""
    zoom = float(np.clip(np.exp(rng.normal() * 0.22), 0.6, 1.7))
    factor = NOMINAL_DIAMETER_PX * zoom / field.diameter_px
    image = shrink(field.image, factor)
    height, width = image.shape[:2]
    shrunk = (width, height)
    cover = cv2.resize(field.cover, shrunk, interpolation=cv2.INTER_NEAREST)
    complete = cv2.resize(field.complete.astype(np.uint8), shrunk, interpolation=cv2.INTER_NEAREST)
    x = int(rng.integers(min(0, width - size_px), max(0, width - size_px) + 1))
    y = int(rng.integers(min(0, height - size_px), max(0, height - size_px) + 1))
    window = np.zeros((size_px, size_px, 5), np.uint8)
    window[:, :, 3] = 128
    ys, xs = max(0, y), max(0, x)
    part = np.dstack([image, cover, complete])[ys : y + size_px, xs : x + size_px]
    window[ys - y : ys - y + part.shape[0], xs - x : xs - x + part.shape[1]] = part
    boxes = field.boxes * factor - np.array([x, y, x, y], np.float32)
    for _ in range(int(rng.integers(0, 4))):
        window = np.rot90(window)
        boxes = np.stack(
            [boxes[:, 1], size_px - boxes[:, 2], boxes[:, 3], size_px - boxes[:, 0]], 1
        )
    if rng.random() < 0.5:
        window = window[:, ::-1]
        boxes = np.stack(
            [size_px - boxes[:, 2], boxes[:, 1], size_px - boxes[:, 0], boxes[:, 3]], 1
        )
    return Tile(
        recoloured(rng, np.ascontiguousarray(window[:, :, :3])),
        np.asarray(boxes, np.float32),
        field.kinds,
        np.ascontiguousarray(window[:, :, 3]),
        field.known,
        np.ascontiguousarray(window[:, :, 4]) > 0,
    )


def recoloured(rng: np.random.Generator, image: Image) -> Image:
    """Another lamp, stain, focus and sensor for a real picture, uint8 [H, W, 3]."""
    value = image.astype(np.float32)
    if rng.random() < 0.85:
        white = np.maximum(np.percentile(value, 95, axis=(0, 1)), 30)
        taken = -np.log(np.maximum(value, 4) / white)
        taken = taken * np.exp(rng.normal() * 0.3) * np.exp(rng.normal(size=3) * 0.25)
        mixed = taken @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.08)
        light = rng.uniform(110, 250) * np.exp(rng.normal(size=3) * 0.08)
        value = np.asarray(light * np.exp(-mixed), np.float32)
    if rng.random() < 0.35:
        value = cv2.GaussianBlur(value, (0, 0), float(rng.uniform(0.3, 1.2)))
    noise = rng.normal(size=value.shape) * rng.uniform(0, 4)
    return np.asarray(np.clip(value + noise, 0, 255), np.uint8)
