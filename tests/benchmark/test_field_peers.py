"""Others on whole fields: what they find, what is left out and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.benchmark.field_peers import (
    ONE_PASS,
    WATERSHED,
    WITHOUT_WEIGHTS,
    measure_peers,
    one_pass_file,
    watershed_boxes,
)
from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import encode_image
from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.synthetic import draw_field


def test_the_watershed_finds_drawn_cells() -> None:
    pytest.importorskip("skimage")
    image, truth = draw_field(3, 640, 480, cell_diameter_px=60, density=0.2)
    found = np.array(watershed_boxes(image), np.float64)
    cells = np.array([cell.box for cell in truth.red_cells], np.float64)
    assert (box_iou(cells, found).max(axis=1) >= 0.5).mean() > 0.6
    assert watershed_boxes(np.full((64, 64, 3), 200, np.uint8)) == []


def test_the_untrained_detector_is_of_yolo_nanos_size() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(one_pass_file())
    onnx.checker.check_model(model)
    weights = sum(int(np.prod(part.dims)) for part in model.graph.initializer)
    assert 2e6 < weights < 4e6


def test_everybody_has_a_turn_or_a_reason(shipped_bundle: Path) -> None:
    picture = encode_image(draw_field(1, 480, 360, cell_diameter_px=40)[0], ".jpg", 90)
    costs, missing = measure_peers(read_bundle(shipped_bundle), [picture], rounds=1)
    assert (costs[0].name, costs[0].times_ours) == ("learned", 1.0)
    assert {one.name for one in missing} >= set(WITHOUT_WEIGHTS.values())
    assert all(one.why for one in missing)
    named = {cost.name for cost in costs} | {one.name for one in missing}
    assert named >= {WATERSHED, ONE_PASS}
    assert all(cost.found is None for cost in costs if cost.name == ONE_PASS)
    assert all(cost.ms > 0 for cost in costs)
