"""The finder's opinion of a crop: is it a red cell at all?

``classify`` gets crops from anywhere, white cells and platelets among them, and the classifier
answers for anything. The bundle's finder was trained on white cells and platelets too, in fields
of several laboratories. Each cell is laid on clear light at one size and shown to it. In
``screen`` the finder has seen the field already, so no second opinion is needed there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.spec import Bundle
from edge_malaria.records import Image
from edge_malaria.runtime.detect.peaks import CHANNEL_KINDS, STRIDE_PX
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import default_engine, open_engine

# A little above a red cell's nominal 20 px: a white cell, cut tight, is then nearly as large as the
# finder knows them. At 30 px and more red cells of two laboratories are taken for white ones.
SHOWN_PX = 26
CANVAS_PX = 40
# Clear light of a stained smear beside the cells, R, G, B.
CLEAR_LIGHT = (225, 215, 222)
# How much surer of a white cell or platelet than of a red cell, in the network's logits. One in two
# hundred cells of train patients lies above.
FOREIGN_ABOVE = -0.78
# Centres this far from the canvas's own count, in pixels of the network's answer.
REACH = 5
BLACK = 8
CELLS_AT_ONCE = 64


class SecondOpinion:
    """Tells white cells and platelets from red cells with the finder's network.

    Args:
        engine: runs the finder's model file.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def margins(self, batch: Image) -> NDArray[np.float64]:
        """How much rather a white cell or platelet than a red cell, in logits; float64 [N].

        Args:
            batch: uint8 [N, S, S, 3] RGB, the classifier's inputs, background black.
        """
        parts = []
        for start in range(0, len(batch), CELLS_AT_ONCE):
            shown = np.stack(
                [on_clear_light(cell) for cell in batch[start : start + CELLS_AT_ONCE]]
            )
            answer = self.engine.run(shown)
            middle = CANVAS_PX // STRIDE_PX // 2
            near = slice(middle - REACH, middle + REACH)
            best = answer[:, near, near, : len(CHANNEL_KINDS)].max(axis=(1, 2))
            parts.append(best[:, 1:].max(axis=1) - best[:, 0])
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

    def foreign(self, batch: Image) -> NDArray[np.bool_]:
        """Which inputs are rather a white cell or platelet; bool [N]. NaN counts as foreign."""
        return ~(self.margins(batch) <= FOREIGN_ABOVE)


def on_clear_light(cell: Image) -> Image:
    """A cell on black -> uint8 [CANVAS_PX, CANVAS_PX, 3], ``SHOWN_PX`` large on clear light."""
    # Padded, so that closing fills dark specks of the cell but no gap between it and the border.
    inside = np.pad(cell.max(axis=2) > BLACK, 1).astype(np.uint8)
    inside = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    soft = cv2.GaussianBlur(inside.astype(np.float32), (3, 3), 0.7) * inside
    alpha = soft[1:-1, 1:-1, None]
    light = np.array(CLEAR_LIGHT, np.float32)
    laid = (cell * alpha + light * (1.0 - alpha)).astype(np.uint8)
    small = cv2.resize(laid, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_AREA)
    edge = (CANVAS_PX - SHOWN_PX) // 2
    sides = (edge, edge, edge, edge)
    return np.asarray(
        cv2.copyMakeBorder(small, *sides, cv2.BORDER_CONSTANT, value=CLEAR_LIGHT), np.uint8
    )


def second_opinion(
    bundle: Bundle, engine: str | None = None, threads: int = 1, variant: str = "int8"
) -> SecondOpinion | None:
    """The second opinion of ``bundle``; None where it holds no finder.

    Raises:
        UsageError: the finder has no such variant for this engine.
        MissingExtra: no engine is installed.
    """
    if bundle.finder is None:
        return None
    name = engine or default_engine()
    file = bundle.finder.file(variant, name)
    return SecondOpinion(open_engine(bundle.read(file.file), name, threads))
