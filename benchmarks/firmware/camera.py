"""The camera example against the Python path, on drawn RGB565 frames with one centred cell.

    python -m benchmarks.firmware.camera [--bundle B] [--frames 1500]

Python: RGB565 -> RGB -> ``isolate_central_cell`` -> ``network_input`` -> LiteRT. C: the example in
firmware_examples/camera, compiled for this machine with the rounding of LiteRT's XNNPACK.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import write_evidence
from converters.firmware import to_c
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.prepare.isolate import isolate_central_cell
from edge_malaria.prepare.preprocess import cut, network_input
from edge_malaria.records import Box, Image, Mask
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.synthetic import draw_cell, pick_stain

EXAMPLES = Path(__file__).resolve().parents[2] / "firmware_examples"
Frame = NDArray[np.uint16]
WIDTH_PX, HEIGHT_PX = 160, 120
SEED = 5
SMALL_SIDE_PX = 96
CAMERA_SOURCES = ("camera_cell.c", "find_cell.c", "bit_plane.c")
STATUS = ("ok", "no cell", "cut off", "too small")


def to_rgb565(image: Image) -> Frame:
    """uint8 [H, W, 3] -> uint16 [H, W], the bits that a camera would send."""
    r, g, b = (image[:, :, channel].astype(np.uint16) for channel in range(3))
    return np.asarray((r >> 3) << 11 | (g >> 2) << 5 | b >> 3, np.uint16)


def from_rgb565(frame: Frame) -> Image:
    """uint16 [H, W] -> uint8 [H, W, 3], rounded as the C example does."""
    r, g, b = frame >> 11 & 31, frame >> 5 & 63, frame & 31
    planes = [(r * 527 + 23) >> 6, (g * 259 + 33) >> 6, (b * 527 + 23) >> 6]
    return np.stack(planes, axis=2).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class DrawnFrame:
    """A frame uint8 [H, W, 3], the central cell's true mask bool [H, W], and what the cell is."""

    image: Image
    mask: Mask
    parasitized: bool


def draw_frame(rng: np.random.Generator) -> DrawnFrame:
    """One cell near the middle; beside every other one a neighbour that the frame cuts off."""
    kind: Any = rng.choice(["healthy", "healthy", "ring", "late-trophozoite", "schizont"])
    stain = pick_stain(rng)
    cell = draw_cell(rng, kind, int(rng.integers(3 * HEIGHT_PX // 8, 2 * HEIGHT_PX // 3)), stain)
    shading = np.linspace(1.0, rng.uniform(0.93, 1.0), WIDTH_PX)[None, :, None]
    # As wide again on both sides: the neighbour lies partly outside.
    scene = np.empty((HEIGHT_PX, 3 * WIDTH_PX, 3), np.float32)
    scene[:] = stain.background
    mask = np.zeros(scene.shape[:2], bool)
    height, width = cell.mask.shape
    top = (HEIGHT_PX - height) // 2 + int(rng.integers(-4, 5))
    left = WIDTH_PX + (WIDTH_PX - width) // 2 + int(rng.integers(-6, 7))
    window = slice(top, top + height), slice(left, left + width)
    scene[window][cell.mask] = cell.image[cell.mask]
    mask[window] = cell.mask
    if rng.random() < 0.5:
        other = draw_cell(rng, "healthy", int(rng.integers(HEIGHT_PX // 4, HEIGHT_PX // 2)), stain)
        height, width = other.mask.shape
        top, gap = int(rng.integers(0, HEIGHT_PX - height)), int(rng.integers(8, 30))
        left = left + cell.mask.shape[1] + gap if rng.random() < 0.5 else left - gap - width
        scene[top : top + height, left : left + width][other.mask] = other.image[other.mask]
    inside = slice(WIDTH_PX, 2 * WIDTH_PX)
    frame = cv2.GaussianBlur(scene[:, inside] * shading, (0, 0), 0.6)
    frame += rng.normal(0, 1.5, frame.shape)
    image = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
    return DrawnFrame(image, np.ascontiguousarray(mask[:, inside]), kind != "healthy")


def work_bytes(width: int, height: int) -> int:
    """``CAMERA_WORK_BYTES``."""
    shorter, longer = sorted((width, height))
    small = SMALL_SIDE_PX * max(8, SMALL_SIDE_PX * shorter // longer + 1)
    return (width * height + 7) // 8 + small + 4 * ((small + 7) // 8)


class CameraExample:
    """firmware_examples/camera as a shared library on this machine, rounding as XNNPACK."""

    def __init__(self, generated: Path, library: Path, size_px: int) -> None:
        sources = [
            *(EXAMPLES / "camera" / name for name in CAMERA_SOURCES),
            *(EXAMPLES / "common" / name for name in ("area_resize.c", "cell_resize.c")),
            generated / to_c.SOURCE,
        ]
        folders = [
            f"-I{folder}" for folder in (generated, EXAMPLES / "common", EXAMPLES / "camera")
        ]
        flags = ["-std=c99", "-O2", "-shared", "-fPIC", "-DEDGE_MALARIA_ROUNDING=1"]
        subprocess.run(["cc", *flags, *folders, *map(str, sources), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))
        self._size_px = size_px

    def classify(self, frame: Frame, threshold: int) -> Seen:
        """Finds and classifies the cell of one frame."""
        height, width = frame.shape
        plane = (width * height + 7) // 8
        work = np.zeros(work_bytes(width, height), np.uint8)
        rgb = np.zeros((self._size_px, self._size_px, 3), np.uint8)
        box = (ctypes.c_uint16 * 4)()
        result = _Result()
        frame = np.ascontiguousarray(frame)
        status = self._library.camera_classify(
            frame.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint32(width), ctypes.c_uint32(height),
            work.ctypes.data_as(ctypes.c_void_p), rgb.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(threshold), box, ctypes.byref(result),
        )  # fmt: skip
        bits = np.unpackbits(work[:plane], bitorder="little")[: width * height]
        x0, y0, x1, y1 = box
        mask = bits.reshape(height, width).astype(bool)
        return Seen(STATUS[status], int(result.label), int(result.raw), (x0, y0, x1, y1), mask)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the example says of a frame; ``mask`` bool [H, W]."""

    status: str
    label: int
    raw: int
    box: Box
    mask: Mask


class _Result(ctypes.Structure):
    """``edge_malaria_result_t``."""

    _fields_ = (
        ("label", ctypes.c_int),
        ("positive", ctypes.c_uint8),
        ("raw", ctypes.c_int8),
        ("permille", ctypes.c_uint16),
    )


@dataclass(frozen=True)
class Comparison:
    """How the two paths compare over ``frames`` drawn frames.

    Attributes:
        found: frames in which the example found a cell.
        same_label: as Python's preprocessing and engine say with the example's mask.
        largest_raw_step: between those two, in steps of the int8 output.
        same_label_own_masks: as Python says with the mask of ``isolate_central_cell``.
        same_mask: frames where those two masks are the same to the pixel.
        least_mask_iou, median_mask_iou: of the example's masks with the drawn truth.
        parasitized_called, healthy_called: share of drawn cells that the example calls
            parasitized.
    """

    frames: int
    found: int
    same_label: int
    largest_raw_step: int
    same_label_own_masks: int
    same_mask: int
    least_mask_iou: float
    median_mask_iou: float
    parasitized_called: float
    healthy_called: float


@dataclass(frozen=True)
class _Row:
    """One frame's share of ``Comparison``."""

    found: bool
    same_label: bool
    raw_step: int
    same_label_own_masks: bool
    same_mask: bool
    mask_iou: float
    called: bool
    parasitized: bool


def compare(bundle: Bundle, frames: int, seed: int = SEED) -> Comparison:
    """Draws frames and runs both paths; a frame without a found cell counts as another label."""
    classifier = Classifier(bundle, engine="litert")
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "generated"
        made = to_c.generate_from_bundle(bundle, folder)
        threshold = (made.identity.thresholds or {})["balanced"]
        example = CameraExample(folder, Path(work) / "camera.so", classifier.input_size_px)
        rows = [_both(classifier, example, draw_frame(rng), threshold) for _ in range(frames)]
    return Comparison(
        frames=frames,
        found=sum(row.found for row in rows),
        same_label=sum(row.same_label for row in rows),
        largest_raw_step=max(row.raw_step for row in rows),
        same_label_own_masks=sum(row.same_label_own_masks for row in rows),
        same_mask=sum(row.same_mask for row in rows),
        least_mask_iou=min(row.mask_iou for row in rows),
        median_mask_iou=float(np.median([row.mask_iou for row in rows])),
        parasitized_called=float(np.mean([row.called for row in rows if row.parasitized])),
        healthy_called=float(np.mean([row.called for row in rows if not row.parasitized])),
    )


def _both(
    classifier: Classifier, example: CameraExample, drawn: DrawnFrame, threshold: int
) -> _Row:
    frame = to_rgb565(drawn.image)
    pixels = from_rgb565(frame)
    seen = example.classify(frame, threshold)
    if seen.status != "ok":
        return _Row(False, False, 0, False, False, 0.0, False, drawn.parasitized)
    called = seen.label == 1
    part = cut(pixels, seen.box), _window(seen.mask, seen.box)
    told = _told(classifier, *part)
    crop, mask = isolate_central_cell(pixels)
    return _Row(
        found=True,
        same_label=called == told.positive,
        raw_step=abs(told.raw - seen.raw),
        same_label_own_masks=called == _told(classifier, crop, mask).positive,
        same_mask=np.array_equal(crop, part[0])
        and mask is not None
        and np.array_equal(mask, part[1]),
        mask_iou=float((seen.mask & drawn.mask).sum() / (seen.mask | drawn.mask).sum()),
        called=called,
        parasitized=drawn.parasitized,
    )


def _window(mask: Mask, box: Box) -> Mask:
    x0, y0, x1, y1 = box
    return mask[y0:y1, x0:x1]


class _Told(NamedTuple):
    """What Python says of a cell: the network's output, and whether it is called."""

    raw: int
    positive: bool


def _told(classifier: Classifier, crop: Image, mask: Mask | None) -> _Told:
    inputs = network_input(crop, classifier.input_size_px, mask)[None]
    [prediction] = classifier.predict_inputs(inputs)
    return _Told(int(classifier.engine.run_raw(inputs).reshape(-1)[0]), prediction.positive)


def main() -> None:
    """Prints the comparison and writes docs/evidence/firmware_camera.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("edge_malaria/models/default"))
    parser.add_argument("--frames", type=int, default=1500)
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    result = compare(bundle, options.frames, SEED)
    print(result)
    sha256 = bundle.classifier.file("int8", "litert").sha256
    figures = {"model_sha256": sha256, "frame_px": [WIDTH_PX, HEIGHT_PX], **vars(result)}
    write_evidence("firmware_camera", "python -m benchmarks.firmware.camera", figures, SEED)


if __name__ == "__main__":
    main()
