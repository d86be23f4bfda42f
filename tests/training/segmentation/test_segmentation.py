"""Every pixel a class: what it is trained on, what the loss asks, and cells from an answer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.errors import ModelShapeError
from edge_malaria.records import Image
from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.runtime.detect.peaks import NOMINAL_DIAMETER_PX
from edge_malaria.synthetic import SmearTruth, draw_field
from edge_malaria.training.finder.data import real_tile
from edge_malaria.training.finder.scenes import RED as RED_KIND
from edge_malaria.training.finder.scenes import WHITE as WHITE_KIND
from edge_malaria.training.finder.scenes import Tile
from edge_malaria.training.finder.tile_source import FinderPlan
from edge_malaria.training.segmentation.semantic_finder import (
    BOUNDARY,
    PARASITE,
    PIXEL_CLASSES,
    RED,
    WHITE,
    SemanticFinder,
    candidates,
)
from edge_malaria.training.segmentation.tiles import (
    ALL,
    ANY_RED,
    COVER_PARASITE,
    COVER_PLAIN,
    SegmentationSource,
    drawn_parasites,
    pixel_truth,
    unpacked,
    with_parasites,
)


def tile_of(boxes: list[tuple[float, ...]], kinds: list[int], cover: np.ndarray) -> Tile:
    side = cover.shape[0]
    return Tile(
        np.zeros((side, side, 3), np.uint8),
        np.array(boxes, np.float32),
        np.array(kinds, np.int64),
        cover,
        np.ones(len(kinds), np.bool_),
        np.ones(cover.shape, np.bool_),
    )


def disc(cover: np.ndarray, x: int, y: int, radius: int, value: int) -> None:
    cv2.circle(cover, (x, y), radius, value, cv2.FILLED)


def test_truth_says_what_is_known_and_no_more() -> None:
    cover = np.zeros((64, 64), np.uint8)
    disc(cover, 16, 16, 10, 255)
    disc(cover, 48, 16, 10, COVER_PLAIN)
    disc(cover, 48, 16, 3, COVER_PARASITE)
    disc(cover, 32, 46, 14, 255)
    cover[60:, :8] = 128
    boxes = [(6, 6, 26, 26), (38, 6, 58, 26), (18, 32, 46, 60)]
    truth = pixel_truth(tile_of(boxes, [RED_KIND, RED_KIND, WHITE_KIND], cover))
    assert truth[2, 34] == 1
    assert truth[16, 16] == ANY_RED, "nobody marked this cell's parasites"
    assert truth[16, 54] == 1 << RED
    assert truth[16, 48] == 1 << PARASITE
    assert truth[16, 25] == truth[25, 48] == 1 << BOUNDARY
    assert truth[46, 32] == 1 << WHITE
    assert truth[62, 3] == ALL
    assert unpacked(truth)[62, 3].tolist() == [1.0] * len(PIXEL_CLASSES)
    assert unpacked(truth)[16, 48].argmax() == PARASITE


def test_a_boundary_runs_between_overlapping_cells() -> None:
    cover = np.zeros((64, 64), np.uint8)
    for x in (24, 40):
        disc(cover, x, 32, 10, 255)
    truth = pixel_truth(tile_of([(14, 22, 34, 42), (30, 22, 50, 42)], [RED_KIND] * 2, cover))
    insides = (truth == ANY_RED).astype(np.uint8)
    assert cv2.connectedComponents(insides, connectivity=4)[0] - 1 == 2
    assert (truth[27:38, 32] == 1 << BOUNDARY).all()


# Colours that stand out of a pale slide as cells do, each far from the others.
PALETTE = np.array(
    [(235, 235, 235), (200, 90, 90), (120, 160, 60), (60, 60, 170), (60, 0, 90)], np.float32
)


class PaletteEngine:
    """Reads each pixel's class off its colour: a network that is never wrong."""

    name = "palette"
    input = TensorSpec("field", (1, 1, 3), "float32")
    output = TensorSpec("classes", (1, 1, len(PIXEL_CLASSES)), "float32")

    def run(self, batch: Image) -> np.ndarray:
        far = np.linalg.norm(batch[..., None, :].astype(np.float32) - PALETTE, axis=-1)
        return (-far / 8.0).astype(np.float32)

    run_raw = run


def painted(image: Image, truth: SmearTruth, diameter_px: float) -> Image:
    """The field in the colours of its true classes."""
    field = with_parasites(image, truth, diameter_px)
    side = max(image.shape[:2])
    pad = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    tile = Tile(
        np.zeros((side, side, 3), np.uint8),
        field.boxes,
        field.kinds,
        np.pad(field.cover, pad),
        field.known,
        np.ones((side, side), np.bool_),
    )
    labels = unpacked(pixel_truth(tile)).argmax(2)[: image.shape[0], : image.shape[1]]
    return PALETTE.astype(np.uint8)[labels]


@pytest.mark.parametrize("seed", [3, 4])
def test_a_perfect_answer_gives_the_drawn_cells(seed: int) -> None:
    drawn, truth = draw_field(seed, width_px=640, height_px=480, cell_diameter_px=44, overlap=0.3)
    image = painted(drawn, truth, 44.0)
    finder = SemanticFinder(PaletteEngine())
    cells = [cell for cell in finder.find(image) if cell.kind == "red-cell"]
    wanted = np.array([t.box for t in truth.red_cells if t.whole], np.float64)
    found = np.array([cell.box for cell in cells], np.float64)
    recall = (box_iou(wanted, found).max(1) >= 0.5).mean()
    assert recall >= 0.9
    assert len(cells) <= 1.1 * len(truth.red_cells)
    labels = finder.label_map(image)
    assert labels.shape == image.shape[:2] and labels.max() < len(PIXEL_CLASSES)
    exact = np.linalg.norm(image[..., None, :] - PALETTE, axis=-1).argmin(2)
    assert (labels == exact).mean() > 0.93


def test_dirt_and_lobes_are_no_cells() -> None:
    chances = np.zeros((64, 64, 5), np.float32)
    chances[:, :, 0] = 1.0
    for x, y, radius, kind in ((16, 16, 8, RED), (40, 16, 2, RED), (40, 40, 4, WHITE)):
        spot = np.zeros((64, 64), np.uint8)
        disc(spot, x, y, radius, 1)
        chances[spot > 0] = np.eye(5, dtype=np.float32)[kind]
    found = candidates(chances, NOMINAL_DIAMETER_PX / 40.0)
    assert [(c.kind, c.score > 0.9) for c in found] == [("red-cell", True)]
    x0, _, x1, _ = found[0].box
    assert abs((x1 - x0) - 40.0) <= 4.0


def test_a_classifier_is_no_segmenting_network() -> None:
    class Classifying:
        output = TensorSpec("logit", (1,), "float32")

    with pytest.raises(ModelShapeError, match="segmenting"):
        SemanticFinder(Classifying())  # type: ignore[arg-type]


def test_tiles_come_alike_each_time_and_show_parasites() -> None:
    drawn = drawn_parasites(2)
    assert all((field.cover == COVER_PARASITE).any() for field in drawn)
    rng = np.random.default_rng(0)
    assert set(np.unique(real_tile(rng, drawn[0], 128).cover)) <= {0, 128, 200, 250}
    source = SegmentationSource(np.zeros((1, 44, 44, 4), np.float16), [], drawn, 1.0)
    plan = FinderPlan(batch=2, chunk=2, seed=5)
    pictures, truth = source.chunk(plan, 0)
    again = source.chunk(plan, 0)
    assert pictures.shape == (4, 128, 128, 3) and truth.shape == (4, 128, 128)
    assert np.array_equal(pictures, again[0]) and np.array_equal(truth, again[1])
    assert (truth == 1 << PARASITE).any() and (truth == 1 << BOUNDARY).any()


@pytest.mark.long
@pytest.mark.slow
def test_the_network_learns_and_its_int8_file_labels_fields_of_any_size() -> None:
    from converters.to_tflite import convert, quantization_of
    from edge_malaria.runtime.engines.opening import open_engine
    from edge_malaria.training.segmentation.network import (
        build_fcn,
        class_iou,
        pixel_loss,
        train_fcn,
    )

    source = SegmentationSource(np.zeros((1, 44, 44, 4), np.float16), [], drawn_parasites(2), 1.0)
    plan = FinderPlan(steps=48, batch=4, chunk=4, peak_rate=4e-3, seed=5)
    pictures, packed = source.chunk(plan, 99)
    wanted = unpacked(packed)

    def loss(network: object) -> float:
        answer = network(pictures.astype(np.float32), training=False)  # type: ignore[operator]
        return float(np.mean(pixel_loss(wanted, answer)))

    network, facts = train_fcn(source, plan, say=lambda line: None)
    assert facts["steps"] == 48
    assert loss(network) < 0.9 * loss(build_fcn())
    data = convert(network, "int8", pictures)
    assert quantization_of(data) == "int8"
    engine = open_engine(data)
    for height, width in ((128, 128), (64, 104)):
        part = pictures[:2, :height, :width]
        keras_labels = np.asarray(network(part.astype(np.float32), training=False)).argmax(-1)
        labels = engine.run(part).argmax(-1)
        assert labels.shape == (2, height, width)
        assert (labels == keras_labels).mean() > 0.9
    same = class_iou(keras_labels.astype(np.uint8), keras_labels.astype(np.uint8))
    assert all(both == either for both, either in same.values())
