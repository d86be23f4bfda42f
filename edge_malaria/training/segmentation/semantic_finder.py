"""The semantic finder: a fully convolutional network labels every pixel; cells are what it leaves.

The field is shrunk until a red cell is ``NOMINAL_DIAMETER_PX`` across. The network answers at that
resolution with a logit for each of ``PIXEL_CLASSES``. The class ``boundary`` runs along every
cell's edge and between cells that touch, so that the insides of cells hang together one by one;
each inside, grown by the width of the boundary, is a cell.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelShapeError
from edge_malaria.records import Cell, CellKind, Image
from edge_malaria.runtime.detect.cells import Candidate, cells_of, check_field
from edge_malaria.runtime.detect.light import FloatMap, shrink
from edge_malaria.runtime.detect.peaks import NOMINAL_DIAMETER_PX
from edge_malaria.runtime.detect.scale import measure_scale
from edge_malaria.runtime.engines.base import Engine

PIXEL_CLASSES = ("background", "red-cell", "boundary", "white-cell", "parasite")
BACKGROUND, RED, BOUNDARY, WHITE, PARASITE = range(5)
# The boundary begins at this share of a cell's radius (also in what the network is trained on).
INNER_SHARE = 0.8
# What the network sees has sides that are multiples of this: it halves three times.
SIDE_MULTIPLE_PX = 8
# An inside below this share of a nominal cell's is dirt; of a white cell's, a lobe.
LEAST_RED, LEAST_WHITE = 0.12, 0.5
# The network is at its best where cells measure about their nominal size.
SCALE_TOLERANCE = (0.88, 1.14)
MOST_CORRECTIONS = 2
# A field is not looked at larger than this, nor enlarged beyond.
MAX_NETWORK_PIXELS = 1600 * 1600
LARGEST_FACTOR = 4.0

Labels = NDArray[np.uint8]


class SemanticFinder:
    """A segmenting network behind an engine.

    Args:
        engine: runs the model file: uint8 [N, H, W, 3] -> logits [N, H, W, 5].

    Raises:
        ModelShapeError: the model does not answer with five classes.
    """

    name = "semantic"

    def __init__(self, engine: Engine) -> None:
        shape = engine.output.shape
        if len(shape) != 3 or shape[-1] != len(PIXEL_CLASSES):
            raise ModelShapeError(
                f"a segmenting network answers with [h, w, {len(PIXEL_CLASSES)}], got {shape}."
            )
        self.engine = engine

    def find(
        self, image: Image, small: Image | None = None, diameter_px: float | None = None
    ) -> list[Cell]:
        """The things found in ``image``, uint8 [H, W, 3] RGB; see ``CellFinder``."""
        check_field(image)
        chances, factor = self._best_pass(image)
        return cells_of(candidates(chances, factor), image.shape)

    def find_at(self, image: Image, diameter_px: float, small: Image | None = None) -> list[Cell]:
        """``find`` where the red cells' diameter, px of ``image``, is known; see ``CellFinder``."""
        check_field(image)
        chances, factor = self._pass(image, NOMINAL_DIAMETER_PX / diameter_px)
        return cells_of(candidates(chances, factor), image.shape)

    def label_map(self, image: Image) -> Labels:
        """The class of every pixel: uint8 [H, W], an index of ``PIXEL_CLASSES``."""
        check_field(image)
        chances, _ = self._best_pass(image)
        labels = chances.argmax(2).astype(np.uint8)
        size = (image.shape[1], image.shape[0])
        return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)

    def _best_pass(self, image: Image) -> tuple[FloatMap, float]:
        """Probabilities [h, w, 5] at the cells' own scale, and network pixels a field's pixel."""
        scale = measure_scale(image)
        diameter = scale.diameter_px if scale else max(image.shape[:2]) / 12
        factor = NOMINAL_DIAMETER_PX / diameter
        for _ in range(MOST_CORRECTIONS):
            chances, factor = self._pass(image, factor)
            seen = _typical_diameter(chances)
            if (
                seen is None
                or SCALE_TOLERANCE[0] <= seen / NOMINAL_DIAMETER_PX <= (SCALE_TOLERANCE[1])
            ):
                return chances, factor
            factor *= NOMINAL_DIAMETER_PX / seen
        return self._pass(image, factor)

    def _pass(self, image: Image, factor: float) -> tuple[FloatMap, float]:
        area = image.shape[0] * image.shape[1] * factor**2
        factor *= min(1.0, math.sqrt(MAX_NETWORK_PIXELS / area))
        factor = min(max(factor, 1e-3), LARGEST_FACTOR)
        small = shrink(image, factor)
        height, width = small.shape[:2]
        down, right = -height % SIDE_MULTIPLE_PX, -width % SIDE_MULTIPLE_PX
        padded = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REPLICATE)
        logits = self.engine.run(np.asarray(padded)[None])[0, :height, :width]
        raised = np.exp(logits - logits.max(2, keepdims=True))
        return np.asarray(raised / raised.sum(2, keepdims=True), np.float32), factor


def _typical_diameter(chances: FloatMap) -> float | None:
    """The median cell's diameter in network pixels; None for fewer than three whole insides."""
    inside = _inside(chances)
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
    height, width = inside.shape
    x, y, w, h, area = (stats[1:, column] for column in range(5))
    whole = (x > 0) & (y > 0) & (x + w < width) & (y + h < height)
    whole &= (area > 0.6 * w * h) & (area > 9)
    if int(whole.sum()) < 3:
        return None
    # Weighted by area, so that dirt does not vote a cell down.
    sizes = np.sort(area[whole])
    middle = sizes[np.searchsorted(np.cumsum(sizes), sizes.sum() / 2)]
    return float(np.sqrt(middle * 4 / np.pi)) / INNER_SHARE


def _inside(chances: FloatMap) -> NDArray[np.bool_]:
    labels = chances.argmax(2)
    return np.asarray((labels == RED) | (labels == PARASITE), np.bool_)


def candidates(chances: FloatMap, factor: float) -> list[Candidate]:
    """Cells in pixels of the field from probabilities [h, w, 5] at ``factor`` of it."""
    labels = chances.argmax(2)
    nominal = math.pi / 4 * (NOMINAL_DIAMETER_PX * INNER_SHARE) ** 2
    empty = labels == BACKGROUND
    red = chances[:, :, RED] + chances[:, :, PARASITE]
    found = _grown(_inside(chances), empty, red, LEAST_RED * nominal, "red-cell", factor)
    white = np.asarray(labels == WHITE, np.bool_)
    whites = _grown(white, empty, chances[:, :, WHITE], LEAST_WHITE * nominal, "white-cell", factor)
    return found + whites


def _grown(
    inside: NDArray[np.bool_],
    empty: NDArray[np.bool_],
    chance: FloatMap,
    least_px: float,
    kind: CellKind,
    factor: float,
) -> list[Candidate]:
    """Each connected inside of at least ``least_px`` as a cell with its boundary."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(
        inside.astype(np.uint8), connectivity=4
    )
    height, width = inside.shape
    found = []
    for part in range(1, count):
        x, y, w, h, area = (int(value) for value in stats[part])
        if area < least_px:
            continue
        radius = math.sqrt(area / math.pi)
        reach = max(1, round(radius * (1 / INNER_SHARE - 1)))
        x0, y0 = max(0, x - reach), max(0, y - reach)
        x1, y1 = min(width, x + w + reach), min(height, y + h + reach)
        core = (parts[y0:y1, x0:x1] == part).astype(np.uint8)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        mask = (cv2.dilate(core, disc) > 0) & (~empty[y0:y1, x0:x1] | (core > 0))
        score = float(chance[y0:y1, x0:x1][core > 0].mean())
        score *= min(1.0, area / (0.5 * math.pi / 4 * (NOMINAL_DIAMETER_PX * INNER_SHARE) ** 2))
        # A cell at the field's edge must be seen to reach it.
        box = (x0 / factor, y0 / factor, x1 / factor, y1 / factor)
        found.append(Candidate(box, np.asarray(mask, np.bool_), kind, min(score, 1.0)))
    return found
