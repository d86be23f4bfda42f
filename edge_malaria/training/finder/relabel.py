"""Fills in what annotators left out: a first network boxes the unnamed cells of the fit fields.

bccd leaves cells without a box. A second round of fitting learns from the first network's sure
boxes there; what neither names stays out of the loss. Fields with points only (chula) are left as
they are: among their odd shapes a first network takes one long cell for two.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.records import Image
from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.runtime.detect.learned import LearnedFinder
from edge_malaria.runtime.detect.peaks import CHANNELS
from edge_malaria.training.finder.data import TruthField
from edge_malaria.training.finder.scenes import RED

# A first network's box is believed from this score on.
SURE = 0.6


class KerasFinderEngine:
    """A finder's Keras network as an engine."""

    name = "keras"

    def __init__(self, network: Any) -> None:
        self.network = network
        self.input = TensorSpec("field", (1, 1, 3), "float32")
        self.output = TensorSpec("answer", (1, 1, CHANNELS), "float32")

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        return np.asarray(self.network(batch.astype(np.float32), training=False), np.float32)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return np.asarray(self.run_raw(batch), np.float32)


def _filled_in(field: TruthField, finder: LearnedFinder) -> TruthField:
    cells = [
        cell
        for cell in finder.find_at(field.image, field.diameter_px)
        if cell.kind == "red-cell" and cell.reason != "border" and cell.score >= SURE
    ]
    boxes = np.array([cell.box for cell in cells], np.float64).reshape(-1, 4)
    near = box_iou(boxes, field.boxes.astype(np.float64))
    fresh = [i for i in range(len(cells)) if not len(field.boxes) or near[i].max() < 0.35]
    cover, complete = field.cover.copy(), field.complete.copy()
    for index in fresh:
        x0, y0, x1, y1 = cells[index].box
        cover[y0:y1, x0:x1][cells[index].mask] = 255
        complete[y0:y1, x0:x1] |= cells[index].mask
    return replace(
        field,
        boxes=np.concatenate([field.boxes, boxes[fresh].astype(np.float32)]),
        kinds=np.concatenate([field.kinds, np.full(len(fresh), RED, np.int64)]),
        known=np.concatenate([field.known, np.ones(len(fresh), np.bool_)]),
        cover=cover,
        complete=complete,
    )


def relabelled(fields: list[TruthField], network: Any) -> list[TruthField]:
    """The fields with the network's sure cells where the truth is incomplete."""
    finder = LearnedFinder(KerasFinderEngine(network))
    return [_filled_in(f, finder) if f.boxed and not f.complete.all() else f for f in fields]
