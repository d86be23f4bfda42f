"""What runs in a benchmark: model files on engines, each ready to be called with a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import EdgeMalariaError, UsageError
from edge_malaria.parity.tflite_costs import file_costs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import installed_engines, open_engine

Run = Callable[[Image], object]
OPENCV = "opencv-dnn"


@dataclass(frozen=True)
class Contestant:
    """One model file on one engine.

    Attributes:
        model: the bundle's or file's name.
        variant: ``float32``, ``int8`` ...; the file's ending where a bare file tells none.
        engine: ``litert``, ``onnx``, ``opencv-dnn`` or ``keras``.
        size_px: side of the input.
        size_bytes: of the file.
        macs: multiply-accumulates a cell; None where they cannot be counted.
        open: threads -> a function that runs uint8 [N, S, S, 3].
        source: the file and engine a child process can open by itself; None for others.
    """

    model: str
    variant: str
    engine: str
    size_px: int
    size_bytes: int
    macs: int | None
    open: Callable[[int], Run]
    source: bytes | None = None

    @property
    def name(self) -> str:
        """Unique within a benchmark."""
        return f"{self.model} {self.variant} {self.engine}"


@dataclass(frozen=True)
class NotRun:
    """A contestant that could not take part, and why."""

    name: str
    why: str


def of_bundle(bundle: Bundle, model: str = "") -> tuple[list[Contestant], list[NotRun]]:
    """Every variant of a bundle's classifier on every engine, OpenCV's included.

    Args:
        bundle: verified.
        model: what to call it; by default its own name.
    """
    name = model or bundle.name
    found: list[Contestant] = []
    missing: list[NotRun] = []
    installed = installed_engines()
    macs = bundle_macs(bundle)
    for variant, files in bundle.classifier.variants.items():
        for engine, file in files.items():
            if engine not in installed:
                missing.append(NotRun(f"{name} {variant} {engine}", f"{engine} is not installed"))
                continue
            data = bundle.read(file.file)
            found.append(
                Contestant(
                    *(name, variant, engine, bundle.classifier.size_px, len(data), macs),
                    _opener(data, engine),
                    data,
                )
            )
    float_onnx = bundle.classifier.variants.get("float32", {}).get("onnx")
    if float_onnx is not None:
        size = bundle.classifier.size_px
        _add_opencv(name, bundle.read(float_onnx.file), size, macs, found, missing)
    return found, missing


def bundle_macs(bundle: Bundle) -> int | None:
    """Multiply-accumulates of one cell, counted from a .tflite file; None without one."""
    for files in bundle.classifier.variants.values():
        if "litert" in files:
            return file_costs(bundle.read(files["litert"].file)).macs
    return None


def of_file(path: Path) -> tuple[list[Contestant], list[NotRun]]:
    """A bare .tflite or .onnx file with a square RGB input.

    Raises:
        UsageError: another kind of file, or an input that is not [S, S, 3].
    """
    endings = {".tflite": "litert", ".onnx": "onnx"}
    engine = endings.get(path.suffix.lower())
    if engine is None:
        raise UsageError(f"--against {path}: expected a bundle, a .tflite or an .onnx file.")
    if engine not in installed_engines():
        return [], [NotRun(path.name, f"{engine} is not installed")]
    data = path.read_bytes()
    opened = open_engine(data, engine)
    shape = opened.input.shape
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3:
        raise UsageError(f"--against {path}: expected an input [S, S, 3], got {list(shape)}.")
    macs = file_costs(data, path.name).macs if engine == "litert" else None
    variant = opened.input.dtype
    return [
        Contestant(
            *(path.stem, variant, engine, shape[0], len(data), macs), _opener(data, engine), data
        )
    ], []


def _opener(data: bytes, engine: str) -> Callable[[int], Run]:
    def open_with(threads: int) -> Run:
        return open_engine(data, engine, threads).run

    return open_with


def _add_opencv(
    name: str,
    data: bytes,
    size_px: int,
    macs: int | None,
    found: list[Contestant],
    missing: list[NotRun],
) -> None:
    """OpenCV's own network module on the float32 ONNX file, where it can read it."""

    def open_with(threads: int) -> Run:
        cv2.setNumThreads(threads)
        network = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))

        def run(batch: Image) -> object:
            network.setInput(np.ascontiguousarray(batch, np.float32))
            return network.forward()

        return run

    title = f"{name} float32 {OPENCV}"
    try:
        open_with(1)(np.zeros((1, size_px, size_px, 3), np.uint8))
    except (cv2.error, AttributeError, EdgeMalariaError) as error:
        reason = str(error).strip().splitlines()[-1][:160]
        missing.append(NotRun(title, f"OpenCV cannot run this file: {reason}"))
        return
    found.append(Contestant(name, "float32", OPENCV, size_px, len(data), macs, open_with))


def batches(sizes: Sequence[int], size_px: int, seed: int = 0) -> Iterator[tuple[int, Image]]:
    """(N, uint8 [N, S, S, 3]) of random pixels for each N: time does not depend on the picture."""
    rng = np.random.default_rng(seed)
    for count in sizes:
        yield count, rng.integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8)
