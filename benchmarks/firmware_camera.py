"""The camera example against the Python path, on drawn RGB565 frames with one centred cell.

    python benchmarks/firmware_camera.py BUNDLE [--frames 400] [--json FILE]

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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import to_c
from edge_malaria.bundle import Bundle, read_bundle
from edge_malaria.files import write_json
from edge_malaria.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.runtime.classify import Classifier
from edge_malaria.runtime.isolate import isolate_central_cell
from edge_malaria.synthetic import draw_cell, pick_stain

EXAMPLES = Path(__file__).resolve().parent.parent / "firmware_examples"
Frame = NDArray[np.uint16]
WIDTH_PX, HEIGHT_PX = 160, 120
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


def draw_frame(rng: np.random.Generator) -> tuple[Image, bool]:
    """A frame uint8 [H, W, 3] with one cell near its middle, and whether it is parasitized."""
    kind: Any = rng.choice(["healthy", "healthy", "ring", "late-trophozoite", "schizont"])
    stain = pick_stain(rng)
    cell = draw_cell(rng, kind, int(rng.integers(3 * HEIGHT_PX // 8, 2 * HEIGHT_PX // 3)), stain)
    frame = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    frame[:] = (
        np.asarray(stain.background)
        * np.linspace(1.0, rng.uniform(0.93, 1.0), WIDTH_PX)[None, :, None]
    )
    height, width = cell.mask.shape
    top = (HEIGHT_PX - height) // 2 + int(rng.integers(-4, 5))
    left = (WIDTH_PX - width) // 2 + int(rng.integers(-6, 7))
    window = frame[top : top + height, left : left + width]
    window[cell.mask] = cell.image[cell.mask]
    frame = cv2.GaussianBlur(frame, (0, 0), 0.6) + rng.normal(0, 1.5, frame.shape)
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), kind != "healthy"


class CameraExample:
    """firmware_examples/camera as a shared library on this machine, rounding as XNNPACK."""

    def __init__(self, generated: Path, library: Path, size_px: int) -> None:
        sources = [
            EXAMPLES / "camera" / "camera_cell.c",
            EXAMPLES / "common" / "area_resize.c",
            generated / to_c.SOURCE,
        ]
        folders = [
            f"-I{folder}" for folder in (generated, EXAMPLES / "common", EXAMPLES / "camera")
        ]
        flags = ["-std=c99", "-O2", "-shared", "-fPIC", "-DEDGE_MALARIA_ROUNDING=1"]
        subprocess.run(["cc", *flags, *folders, *map(str, sources), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))
        self._size_px = size_px

    def classify(self, frame: Frame, threshold: int) -> tuple[str, int, int, Image]:
        """Status, label (0, 1, 2), raw output and network input of one frame."""
        height, width = frame.shape
        work = (ctypes.c_uint8 * (3 * ((width * height + 7) // 8)))()
        rgb = np.zeros((self._size_px, self._size_px, 3), np.uint8)
        box = (ctypes.c_uint16 * 4)()
        result = _Result()
        frame = np.ascontiguousarray(frame)
        status = self._library.camera_classify(
            frame.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint32(width), ctypes.c_uint32(height),
            work, rgb.ctypes.data_as(ctypes.c_void_p), ctypes.c_int(threshold), box,
            ctypes.byref(result),
        )  # fmt: skip
        return STATUS[status], int(result.label), int(result.raw), rgb


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
    """How the two paths compare over ``frames`` drawn frames."""

    frames: int
    found: int
    same_label: int
    same_input_bits: int
    largest_raw_step: int
    parasitized_called: float
    healthy_called: float


def compare(bundle: Bundle, frames: int, seed: int = 5) -> Comparison:
    """Draws frames and runs both paths; a frame without a found cell counts as another label."""
    classifier = Classifier(bundle, engine="litert")
    rng = np.random.default_rng(seed)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "generated"
        made = to_c.generate_from_bundle(bundle, folder)
        threshold = (made.identity.thresholds or {})["balanced"]
        library = Path(work) / "camera.so"
        example = CameraExample(folder, library, classifier.input_size_px)
        for _ in range(frames):
            image, parasitized = draw_frame(rng)
            frame = to_rgb565(image)
            crop, mask = isolate_central_cell(from_rgb565(frame))
            expected = network_input(crop, classifier.input_size_px, mask)
            raw = int(classifier.engine.run_raw(expected[None]).reshape(-1)[0])
            status, label, got, seen = example.classify(frame, threshold)
            same = status == "ok" and label == int(raw >= threshold)
            rows.append((status == "ok", same, (seen == expected).all(), abs(raw - got),
                         parasitized, label == 1))  # fmt: skip
    table = np.array(rows)
    truth = table[:, 4].astype(bool)
    return Comparison(
        frames,
        int(table[:, 0].sum()),
        int(table[:, 1].sum()),
        int(table[:, 2].sum()),
        int(table[:, 3].max()),
        float(table[truth, 5].mean()),
        float(table[~truth, 5].mean()),
    )


def main() -> None:
    """Prints the comparison and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = compare(read_bundle(options.bundle), options.frames)
    print(result)
    if options.json:
        write_json(options.json, vars(result))


if __name__ == "__main__":
    main()
