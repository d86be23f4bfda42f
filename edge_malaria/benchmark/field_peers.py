"""Others on whole fields, beside this project's finder: each optional, skipped with its reason.

A watershed pipeline of scikit-image finds cells as a tutorial would. A one-pass detector of the
size of YOLOv8n has random weights: it shows what such a network costs, and finds nothing.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge_malaria.benchmark.contestants import NotRun
from edge_malaria.bundle.spec import Bundle
from edge_malaria.files import decode_image
from edge_malaria.records import Box, Image, expect
from edge_malaria.runtime.detect.opening import default_finder

WATERSHED, ONE_PASS = "scikit-image watershed", "one-pass detector, YOLOv8n's size, untrained"
# Their networks come as downloads, which nothing here starts.
WITHOUT_WEIGHTS = {"stardist": "StarDist", "cellpose": "Cellpose"}
ROUNDS = 3
# YOLOv8n's backbone at 640 px (stride 2 five times, a C2f block behind each) and a head as wide.
_SIDE_PX = 640
_WIDTHS = ((16, 0), (32, 1), (64, 2), (128, 2), (256, 1))


@dataclass(frozen=True)
class PeerCost:
    """One contestant on the same fields as the finder, decoding included.

    Attributes:
        name: of the contestant.
        ms: median milliseconds a field.
        times_ours: its time over this project's decoding and finding, median of the rounds.
        found: cells found in all fields; None where its weights are random.
    """

    name: str
    ms: float
    times_ours: float
    found: int | None

    def as_json(self) -> dict[str, Any]:
        """The object in the command's JSON."""
        return dict(vars(self))


def watershed_boxes(image: Image) -> list[Box]:
    """Red cells by Otsu's cut and a watershed over the distance to the background.

    Args:
        image: uint8 [H, W, 3] RGB.

    Raises:
        ImportError: scikit-image is not installed.
    """
    from scipy import ndimage
    from skimage import feature, filters, measure, segmentation

    green = filters.gaussian(image[:, :, 1], sigma=2)
    mask = ndimage.binary_fill_holes(green < filters.threshold_otsu(green))
    distance = ndimage.distance_transform_edt(mask)
    if not mask.any():
        return []
    radius = float(np.percentile(distance[mask], 98))
    regions, _ = ndimage.label(mask)
    peaks = feature.peak_local_max(distance, min_distance=max(2, int(0.7 * radius)), labels=regions)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-distance, markers, mask=mask)
    least = 0.25 * np.pi * radius**2
    parts = [part for part in measure.regionprops(labels) if part.area >= least]
    return [(x0, y0, x1, y1) for y0, x0, y1, x1 in (map(int, part.bbox) for part in parts)]


def one_pass_file(seed: int = 0) -> bytes:
    """An ONNX file of about YOLOv8n's layers with random weights: float32 [1, 3, 640, 640].

    Raises:
        ImportError: onnx is not installed.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes: list[Any] = []
    weights: list[Any] = []

    def conv(source: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        name = f"conv{len(weights)}"
        values = rng.normal(0, 0.05, (outputs, inputs, kernel, kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{name}_w"))
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{name}_w"], [f"{name}_y"], strides=[stride] * 2, pads=pads
            )
        )
        nodes.append(helper.make_node("Sigmoid", [f"{name}_y"], [f"{name}_s"]))
        nodes.append(helper.make_node("Mul", [f"{name}_y", f"{name}_s"], [name]))
        return name

    x, depth = "image", 3
    for width, repeats in _WIDTHS:
        x = conv(x, depth, width, 3, stride=2)
        for _ in range(2 * repeats):
            half = conv(x, width, width // 2, 3)
            x = conv(half, width // 2, width, 3)
        depth = width
    x = conv(conv(x, depth, 128, 3), 128, 144, 1)
    shape = [1, 144, _SIDE_PX // 32, _SIDE_PX // 32]
    graph = helper.make_graph(
        nodes,
        "one-pass",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, _SIDE_PX, _SIDE_PX])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def _one_pass(threads: int) -> Callable[[Image], int | None]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        one_pass_file(), options, providers=["CPUExecutionProvider"]
    )

    def run(image: Image) -> int | None:
        small = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_LINEAR)
        planes = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / 255.0
        session.run(None, {"image": planes})
        return None

    return run


def contestants(threads: int) -> tuple[dict[str, Callable[[Image], int | None]], list[NotRun]]:
    """What can run here, by name, and what cannot with its reason."""
    found: dict[str, Callable[[Image], int | None]] = {}
    missing: list[NotRun] = []
    if importlib.util.find_spec("skimage") is None:
        missing.append(NotRun(WATERSHED, "scikit-image is not installed"))
    else:
        found[WATERSHED] = lambda image: len(watershed_boxes(image))
    lacking = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if lacking:
        missing.append(NotRun(ONE_PASS, f"{lacking[0]} is not installed"))
    else:
        found[ONE_PASS] = _one_pass(threads)
    for module, name in WITHOUT_WEIGHTS.items():
        there = importlib.util.find_spec(module) is not None
        why = "its networks are downloads, which are not started here"
        missing.append(NotRun(name, why if there else "it is not installed"))
    return found, missing


def measure_peers(
    bundle: Bundle, pictures: Sequence[bytes], threads: int = 1, rounds: int = ROUNDS
) -> tuple[list[PeerCost], list[NotRun]]:
    """Everybody decodes and looks at each picture in turn; ratios are taken within a round.

    Args:
        bundle: whose finder is ours.
        pictures: JPEG files.
        threads: of the engines.
        rounds: how often; one more goes first and is not counted.
    """
    expect(len(pictures) >= 1 and rounds >= 1, "a picture and a round", (len(pictures), rounds))
    finder = default_finder(bundle, "int8", None, threads)
    runs, missing = contestants(threads)
    everyone = {"": lambda image: len(finder.find(image)), **runs}
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    found: dict[str, int | None] = {}
    for turn in range(rounds + 1):
        for name, run in everyone.items():
            started = time.perf_counter()
            counts = [run(decode_image(data)) for data in pictures]
            if turn:
                seconds[name].append((time.perf_counter() - started) / len(pictures))
            found[name] = None if None in counts else sum(c for c in counts if c is not None)
    ours = np.array(seconds[""])
    costs = [
        PeerCost(
            name or finder.name,
            round(1e3 * float(np.median(times)), 2),
            round(float(np.median(np.array(times) / ours)), 2),
            found[name],
        )
        for name, times in seconds.items()
    ]
    return costs, missing
