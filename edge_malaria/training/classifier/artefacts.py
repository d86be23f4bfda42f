"""Platelets, refractile spots and dirt on red cells: what looks like a parasite and is none.

Platelets of other laboratories are cut out as optical density, as parasites are (``transplant``),
and laid on healthy cells, inside, across the edge or beside it, by the same turns, sizes, contrasts
and blurs: the shape alone tells them apart. Refractile spots (drying artefacts, bubbles of the
mounting: a core brighter than the cell inside a dark rim) and grains are drawn.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.laboratories import SETS, training_files
from edge_malaria.files import read_image
from edge_malaria.prepare.preprocess import cell_colours, cut
from edge_malaria.prepare.stain import StainScaling, median_colour, scaled
from edge_malaria.records import Box, Image
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.training.classifier.transplant import DENSITY, Floats, Parasite, on_cell

# Sets whose fitting thirds show platelets: boxed, or in the middle of the picture.
BOXED, CENTRED = ("bccd", "raabin"), ("pbc",)
CENTRED_PREFIX = "PLATELET"
# Density above the surroundings that belongs to a platelet: as for a parasite.
# Second the density above a red cell in the home stain: platelets that touch one.
_BODIES, _CORE, _SIGN = (0.10, 0.45), 0.25, (0.6, 0.4)
# Extent in pixels of an input: a platelet measures a quarter to a half of a red cell; giant ones
# are laid smaller.
_LEAST_PX, _LARGE_PX, _MOST_PX = 4, 16, 40
# Density of clear light around a cell, and of cover from which a platelet's outside is kept.
_CLEAR = 0.09
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Platelet:
    """A platelet as density above its surroundings, at the size of an input; its laboratory."""

    spot: Parasite
    laboratory: str


def platelets(
    fields: Path, finder: CellFinder, size_px: int, stain: StainScaling
) -> list[Platelet]:
    """Platelets of the fitting thirds of ``BOXED`` and ``CENTRED``."""
    found = []
    for name in (*BOXED, *CENTRED):
        boxes = _boxes(fields, name)
        for path in training_files(fields, name):
            if not boxes[path.name] and name in BOXED:
                continue
            if name in CENTRED and not path.name.startswith(CENTRED_PREFIX):
                continue
            image = read_image(path)
            own = boxes[path.name] or [_middle(image)]
            found += [
                Platelet(spot, SETS[name].laboratory)
                for spot in _of_picture(image, own, finder, size_px, stain)
            ]
    return found


def _boxes(fields: Path, name: str) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    file = fields / name / "annotations.csv"
    if name in BOXED:
        with file.open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                if row["label"] == "Platelets":
                    x, y, wide, high = (int(row[key]) for key in ("x", "y", "w", "h"))
                    boxes[row["image"]].append((x, y, x + wide, y + high))
    return boxes


def _middle(image: Image) -> Box:
    height, width = image.shape[:2]
    return (width // 4, height // 4, width - width // 4, height - height // 4)


def _of_picture(
    image: Image, boxes: list[Box], finder: CellFinder, size_px: int, stain: StainScaling
) -> Iterator[Parasite]:
    cells = [cell for cell in finder.find(image) if cell.counted]
    colour = median_colour([c for c in cell_colours(image, cells) if c is not None])
    if colour is None:
        return
    side = np.median([max(c.box[2] - c.box[0], c.box[3] - c.box[1]) for c in cells])
    shown = scaled(image, stain.table(colour))
    height, width = image.shape[:2]
    for x0, y0, x1, y1 in boxes:
        edge = max(3, (x1 - x0) // 6)
        box = (max(0, x0 - edge), max(0, y0 - edge), min(width, x1 + edge), min(height, y1 + edge))
        spot = _cut_out(cut(shown, box), size_px / float(side))
        if spot is not None:
            yield spot


def _cut_out(patch: Image, scale: float) -> Parasite | None:
    """The stained body in the middle of a patch, above what surrounds it."""
    wide, high = (round(n * scale) for n in (patch.shape[1], patch.shape[0]))
    if min(wide, high) < 6:
        return None
    small = cv2.resize(patch, (wide, high), interpolation=cv2.INTER_AREA)
    density = DENSITY[small]
    border = np.concatenate([density[0], density[-1], density[:, 0], density[:, -1]])
    above = density - np.median(border, axis=0).astype(np.float32)
    sign = cv2.GaussianBlur(_SIGN[0] * above[:, :, 0] + _SIGN[1] * above[:, :, 1], (3, 3), 0.7)
    found = [spot for body in _BODIES if (spot := _central(sign, body)) is not None]
    if not found:
        return None
    body = cv2.dilate(found[0], _SQUARE)
    cover = np.asarray(cv2.GaussianBlur(body.astype(np.float32), (5, 5), 1.0), np.float32)
    peak = float(np.percentile((above[:, :, 1] * cover)[body > 0], 92))
    rows, columns = np.nonzero(cover > 0.02)
    part = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    return Parasite((above * cover[:, :, None])[part], cover[part], max(peak, 0.1))


def _central(sign: Floats, body: float) -> NDArray[np.uint8] | None:
    """uint8 [h, w], 1 on the largest whole spot near the middle; None where there is none."""
    high, wide = sign.shape
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        (sign > body).astype(np.uint8), connectivity=8
    )
    middle, best = np.array([wide / 2, high / 2]), None
    for index in range(1, count):
        x, y, w, h, area = stats[index]
        inside = x > 0 and y > 0 and x + w < wide and y + h < high
        right = _LEAST_PX <= max(w, h) <= _MOST_PX and sign[labels == index].max() > _CORE
        if inside and right and np.linalg.norm(centres[index] - middle) < max(wide, high) / 3:
            best = index if best is None or area > stats[best][4] else best
    return None if best is None else np.asarray(labels == best, np.uint8)


def with_platelet_laid(cell: Image, spot: Parasite, rng: np.random.Generator) -> Image | None:
    """A platelet on a healthy cell: inside, across its edge or beside; None where it has no room.

    Args:
        cell: uint8 [S, S, 3] on black; never changed.
        spot: the platelet.
        rng: decides everything.
    """
    mask = on_cell(cell)
    if mask.sum() < 300:
        return None
    laid = _laid(mask, spot, rng)
    cover = laid[:, :, 3] * 1.0
    faintest = min(max(0.22 / spot.peak, 0.3), 1.0)
    contrast = np.exp(rng.uniform(np.log(faintest), np.log(1.25)))
    if rng.random() < 0.5:
        laid = np.asarray(cv2.GaussianBlur(laid, (5, 5), rng.uniform(0.4, 1.3)), np.float32)
    hue = np.exp(rng.normal(0.0, 0.12, 3)).astype(np.float32)
    # Part of what lies beyond the outline stays in a segmenter's crop.
    kept = mask > 0
    if rng.random() < 0.6:
        kept |= cover > rng.uniform(0.15, 0.6)
    ground = np.where(mask[:, :, None] > 0, DENSITY[cell], np.float32(_CLEAR))
    density = ground + contrast * hue * laid[:, :, :3]
    light = 255.0 * np.exp(-np.clip(density, 0.0, 6.0)) * kept[:, :, None]
    return np.asarray(np.rint(light), np.uint8)


def _laid(mask: NDArray[np.uint8], spot: Parasite, rng: np.random.Generator) -> Floats:
    side = mask.shape[0]
    scale, turn = np.exp(rng.normal(0.0, 0.22)), rng.uniform(0.0, 2.0 * np.pi)
    height, width = spot.cover.shape
    if max(height, width) > _LARGE_PX:
        scale = rng.uniform(_LARGE_PX / 2.5, _LARGE_PX) / max(height, width)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    # Two of three inside: there they look most like parasites.
    eroded = np.asarray(cv2.erode(mask, _SQUARE, iterations=3, borderValue=0), np.uint8)
    outline = cv2.dilate(mask, _SQUARE) - cv2.erode(mask, _SQUARE, iterations=2, borderValue=0)
    rows, columns = np.nonzero(eroded if rng.random() < 0.67 and eroded.any() else outline)
    place = rng.integers(len(rows))
    shift = np.array([columns[place], rows[place]]) - linear @ [(width - 1) / 2, (height - 1) / 2]
    stack = np.dstack([spot.density, spot.cover])
    laid = cv2.warpAffine(stack, np.column_stack([linear, shift]), (side, side))
    return np.asarray(laid, np.float32)


def with_refractile_spots(cell: Image, rng: np.random.Generator) -> Image | None:
    """One to four drawn spots on a cell: rings with a bright core, or grains of no azure."""
    mask = on_cell(cell)
    if mask.sum() < 300:
        return None
    eroded = np.asarray(cv2.erode(mask, _SQUARE, iterations=2, borderValue=0), np.uint8)
    rows, columns = np.nonzero(eroded if eroded.any() else mask)
    density = DENSITY[cell].copy()
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))):
        place = rng.integers(len(rows))
        distance, angle = _from_centre(mask.shape[0], (columns[place], rows[place]), rng)
        draw = _ring if rng.random() < 0.65 else _grain
        density += draw(distance, angle, rng)
    light = 255.0 * np.exp(-np.clip(density, 0.0, 6.0)) * mask[:, :, None]
    return np.asarray(np.rint(light), np.uint8)


def _from_centre(
    side: int, centre: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Distance [S, S] in px, stretched along a random axis, and angle [S, S]."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    x, y = x - centre[0] - np.float32(rng.random()), y - centre[1] - np.float32(rng.random())
    turn, longer = rng.uniform(0, np.pi), np.exp(0.5 * abs(rng.normal(0.0, 0.4)))
    along = (x * np.cos(turn) + y * np.sin(turn)) / longer
    across = (-x * np.sin(turn) + y * np.cos(turn)) * longer
    return np.hypot(along, across).astype(np.float32), np.arctan2(across, along).astype(np.float32)


def _ring(distance: Floats, angle: Floats, rng: np.random.Generator) -> Floats:
    radius, width = rng.uniform(1.2, 5.0), rng.uniform(0.7, 1.5)
    rim = np.exp(-0.5 * ((distance - radius) / width) ** 2)
    if rng.random() < 0.5:
        # One side is in shadow: light falls through a lens.
        rim *= 0.5 + 0.5 * np.cos(angle - rng.uniform(0, 2 * np.pi)) * rng.uniform(0.5, 1.0)
    core = np.exp(-0.5 * (distance / (0.6 * radius)) ** 2)
    colour = np.array([rng.uniform(0.2, 0.8), 1.0, rng.uniform(-0.4, 0.8)], np.float32)
    bright = np.array([rng.uniform(0.5, 1.0), 1.0, rng.uniform(0.5, 1.2)], np.float32)
    depth = np.exp(rng.uniform(np.log(0.12), np.log(0.6)))
    lift = rng.uniform(0.08, 0.45)
    return np.asarray(
        depth * rim[:, :, None] * colour - lift * core[:, :, None] * bright, np.float32
    )


def _grain(distance: Floats, angle: Floats, rng: np.random.Generator) -> Floats:
    core = np.exp(-0.5 * (distance / rng.uniform(0.7, 2.2)) ** 2)
    colour = np.array([rng.uniform(0.1, 0.55), 1.0, rng.uniform(0.0, 1.0)], np.float32)
    return np.asarray(
        np.exp(rng.uniform(np.log(0.08), np.log(0.4))) * core[:, :, None] * colour, np.float32
    )


def with_artefact(
    cell: Image, platelets: Sequence[Platelet], rng: np.random.Generator, drawn: float = 0.4
) -> tuple[Image, str] | None:
    """A healthy cell with a platelet or with drawn spots; None where there is no room.

    Args:
        cell: uint8 [S, S, 3] on black; never changed.
        platelets: to choose from.
        rng: decides everything.
        drawn: share of drawn spots.

    Returns:
        The cell and the laboratory of the platelet, "" for drawn spots.
    """
    if rng.random() < drawn:
        made = with_refractile_spots(cell, rng)
        return None if made is None else (made, "")
    chosen = platelets[int(rng.integers(len(platelets)))]
    made = with_platelet_laid(cell, chosen.spot, rng)
    return None if made is None else (made, chosen.laboratory)
