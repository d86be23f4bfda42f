"""Which engines are installed, and opening a model file on one. No engine is switched silently."""

from __future__ import annotations

from pathlib import Path

from edge_malaria.errors import MissingExtra, UsageError
from edge_malaria.records import expect
from edge_malaria.runtime.engines.base import ENGINES, Engine, has_module
from edge_malaria.runtime.engines.litert import LITERT_MODULES, LiteRTEngine
from edge_malaria.runtime.engines.onnx import OnnxEngine


def installed_engines() -> tuple[str, ...]:
    """The engines whose package is installed, the device default first. Imports none of them."""
    found = []
    if any(has_module(name.split(".")[0]) for name in LITERT_MODULES):
        found.append("litert")
    if has_module("onnxruntime"):
        found.append("onnx")
    return tuple(found)


def default_engine() -> str:
    """litert if installed, else onnx.

    Raises:
        MissingExtra: neither is installed.
    """
    found = installed_engines()
    if not found:
        raise MissingExtra("No engine (LiteRT or ONNX Runtime)", "litert")
    return found[0]


def open_engine(model: Path | bytes, engine: str = "litert", threads: int = 1) -> Engine:
    """Opens a .tflite or .onnx file (or its bytes) on the named engine.

    Raises:
        UsageError: unknown engine.
        MissingExtra: the engine is not installed.
        BundleIntegrityError: the engine cannot load the file.
    """
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    expect(threads >= 1, "threads >= 1", threads)
    if engine == "litert":
        return LiteRTEngine(data, threads)
    if engine == "onnx":
        return OnnxEngine(data, threads)
    raise UsageError(f"unknown engine {engine!r}: expected one of {', '.join(ENGINES)}.")
