"""The shipped finder: plain layers, small, int8 as a whole, and it finds cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edge_malaria
from edge_malaria.files import read_image
from edge_malaria.records import Image
from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.runtime.detect.learned import LearnedFinder
from edge_malaria.runtime.detect.light import halved
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.synthetic import draw_field

pytestmark = pytest.mark.usefixtures("tensorflow")

SHIPPED = Path(edge_malaria.__file__).parent / "models" / "finder.keras"


@pytest.fixture(scope="module")
def finder() -> LearnedFinder:
    """The shipped network, converted to int8 as export does."""
    from converters import to_tflite
    from edge_malaria.keras_layers import load_model
    from edge_malaria.training.finder.drawn import finder_calibration_inputs

    data = to_tflite.convert(load_model(SHIPPED), "int8", finder_calibration_inputs(24))
    assert to_tflite.quantization_of(data) == "int8"
    return LearnedFinder(open_engine(data, "litert"))


def recall_and_precision(finder: LearnedFinder, image: Image, truth) -> tuple[float, float]:
    whole = np.array([o.box for o in truth.red_cells if o.whole], float)
    cells = [c for c in finder.find(image) if c.kind == "red-cell" and c.reason != "border"]
    iou = box_iou(whole, np.array([c.box for c in cells], float)) >= 0.5
    return float(iou.any(1).mean()), float(iou.any(0).mean())


def test_the_file_is_small_and_holds_plain_layers():
    from edge_malaria.keras_layers import load_model

    assert SHIPPED.stat().st_size < 400_000
    names = {type(layer).__name__ for layer in load_model(SHIPPED).layers}
    plain = {"InputLayer", "Conv2D", "DepthwiseConv2D", "ReLU", "Add", "UpSampling2D", "FakeQuant"}
    assert names <= plain


@pytest.mark.parametrize("diameter", [45.0, 70.0, 120.0])
def test_cells_of_any_size_are_found_in_a_monolayer(finder, diameter):
    image, truth = draw_field(7, cell_diameter_px=diameter, density=0.3, overlap=0.0)
    recall, precision = recall_and_precision(finder, image, truth)
    assert recall >= 0.95
    assert precision >= 0.93


def test_overlapping_cells_are_told_apart(finder):
    image, truth = draw_field(8, density=0.35, overlap=0.33)
    recall, precision = recall_and_precision(finder, image, truth)
    assert recall >= 0.9
    assert precision >= 0.88


def test_the_same_field_gives_the_same_cells(finder):
    image, _ = draw_field(9)
    first, second = finder.find(image), finder.find(image)
    assert [c.box for c in first] == [c.box for c in second]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first, second, strict=True))


def test_a_scale_known_from_the_field_before_finds_the_same_cells(finder):
    image, _ = draw_field(9, density=0.3, overlap=0.1)
    plain = finder.find(image)
    sizes = [((x1 - x0) * (y1 - y0)) ** 0.5 for x0, y0, x1, y1 in (c.box for c in plain)]
    known = finder.find(image, halved(image, 640), float(np.median(sizes)))
    iou = box_iou(np.array([c.box for c in plain], float), np.array([c.box for c in known], float))
    assert abs(len(known) - len(plain)) <= 0.05 * len(plain)
    assert (iou.max(1) > 0.7).mean() >= 0.95
    # A scale that does not hold here is looked for anew.
    for wrong in (0.4, 2.5):
        other = finder.find(image, None, wrong * float(np.median(sizes)))
        assert [c.box for c in other] == [c.box for c in plain]


def test_masks_keep_the_parasites(finder):
    image, truth = draw_field(10, parasitemia=0.5, density=0.25, overlap=0.0)
    kept = np.zeros(image.shape[:2], bool)
    for cell in finder.find(image):
        x0, y0, x1, y1 = cell.box
        kept[y0:y1, x0:x1] |= cell.mask
    boxes = [b for o in truth.parasitized if o.whole for b in o.parasite_boxes]
    inside = [kept[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in boxes]
    assert len(inside) > 10
    assert np.mean(inside) >= 0.95


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_field_holds_no_cell(finder, level):
    cells = finder.find(np.full((480, 640, 3), level, np.uint8))
    assert [c for c in cells if c.counted] == []


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (40, 40), (97, 31)])
def test_odd_sizes_are_no_error(finder, size):
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    for cell in finder.find(noise):
        assert cell.box[2] <= size[1]
        assert cell.box[3] <= size[0]


def test_boxed_cells_of_real_malaria_fields_are_found(finder, data_dir):
    import csv

    folder = data_dir / "fields" / "iml"
    names = sorted(path.name for path in (folder / "images").iterdir())
    with (folder / "annotations.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    hit = total = 0
    for name in [n for i, n in enumerate(names) if i % 3 != 2][::20]:
        image = read_image(folder / "images" / name)
        mine = [[float(r[k]) for k in "xywh"] for r in rows if r["image"] == name]
        boxes = np.array(mine)
        boxes[:, 2:] += boxes[:, :2]
        height, width = image.shape[:2]
        inside = (boxes[:, :2] > 1).all(1) & (boxes[:, 2] < width - 1) & (boxes[:, 3] < height - 1)
        found = np.array([c.box for c in finder.find(image)], float)
        iou = box_iou(boxes[inside], found)
        hit, total = hit + int((iou.max(1) >= 0.5).sum()), total + int(inside.sum())
    assert hit / total >= 0.93
