"""What is installed here, what would be used, and the fix for each finding."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import edge_malaria
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS, shipped_bundle
from edge_malaria.errors import EdgeMalariaError

State = Literal["ok", "missing", "problem"]
_IMPORT_TIMEOUT_S = 120
# An engine is imported and asked to load a model in a child process: an illegal instruction
# kills the child and becomes a finding here.
_PROBE = """
import sys
from edge_malaria.bundle import read_bundle
from edge_malaria.runtime.engines import open_engine
import numpy as np
bundle = read_bundle(sys.argv[2])
for variant, files in bundle.classifier.variants.items():
    if sys.argv[1] in files:
        engine = open_engine(bundle.read(files[sys.argv[1]].file), sys.argv[1])
        engine.run(np.zeros((1, *engine.input.shape), np.uint8))
        break
"""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: the thing looked at.
        state: ok, missing (optional and absent), or problem.
        detail: what was seen.
        fix: a command or a sentence; empty where nothing is to do.
    """

    what: str
    state: State
    detail: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """The JSON object in ``doctor --json``."""
        return {"what": self.what, "state": self.state, "detail": self.detail, "fix": self.fix}


def examine() -> list[Finding]:
    """Looks at Python, packages, engines, bundle and ``converters``."""
    return [
        _python(),
        _version("opencv-python-headless", "opencv", ("cv2",), ""),
        _engine("litert", ("ai-edge-litert", "tflite-runtime"), "litert"),
        _engine("onnx", ("onnxruntime",), "onnx"),
        _used_engine(),
        _bundle(),
        _version("tensorflow-cpu", "TensorFlow", ("tensorflow",), "export"),
        _version("tf2onnx", "tf2onnx", ("tf2onnx",), "export"),
        _version("scikit-learn", "training extras", ("sklearn",), "train"),
        _converters(),
    ]


def _python() -> Finding:
    detail = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Finding("python", "ok", detail)


def _installed_version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return None


def _version(package: str, what: str, modules: tuple[str, ...], extra: str) -> Finding:
    found = _installed_version((package, modules[0], modules[0].replace("_", "-")))
    present = all(importlib.util.find_spec(module) is not None for module in modules)
    if present:
        return Finding(what, "ok", found or "installed")
    if extra:
        return Finding(
            what,
            "missing",
            "not installed",
            f"for training and export: pip install 'edge-malaria[{extra}]'",
        )
    return Finding(what, "problem", "not installed", f"pip install {package}")


def _engine(name: str, packages: tuple[str, ...], extra: str) -> Finding:
    what = f"engine {name}"
    found = _installed_version(packages)
    if found is None:
        return Finding(what, "missing", "not installed", f"pip install 'edge-malaria[{extra}]'")
    command = [sys.executable, "-c", _PROBE, name, str(shipped_bundle())]
    try:
        child = subprocess.run(
            command, capture_output=True, timeout=_IMPORT_TIMEOUT_S, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return Finding(what, "problem", f"{found}: no answer in {_IMPORT_TIMEOUT_S} s", "reinstall")
    if child.returncode == 0:
        return Finding(what, "ok", f"{found}, runs the shipped model")
    if child.returncode < 0:
        return Finding(
            what,
            "problem",
            f"{found}: killed by signal {-child.returncode} (4 is an illegal instruction)",
            "this build does not fit this processor: install another version or engine",
        )
    reason = (child.stderr.strip().splitlines() or ["unknown error"])[-1][:160]
    return Finding(what, "problem", f"{found}: {reason}", f"pip install -U 'edge-malaria[{extra}]'")


def _used_engine() -> Finding:
    from edge_malaria.runtime.engines.opening import installed_engines

    found = installed_engines()
    if not found:
        return Finding("engine used", "problem", "none", "pip install 'edge-malaria[litert]'")
    return Finding("engine used", "ok", f"{found[0]} (change with --engine)")


def _bundle() -> Finding:
    path = shipped_bundle()
    try:
        bundle = read_bundle(path)
    except EdgeMalariaError as error:
        return Finding("bundle used", "problem", str(error), "reinstall edge-malaria")
    names = ", ".join(
        sorted(p.name for p in SHIPPED_MODELS.iterdir() if (p / "bundle.json").is_file())
    )
    detail = (
        f"{bundle.name} {bundle.version}, int8, {len(bundle.contents)} files whole; ships {names}"
    )
    return Finding("bundle used", "ok", detail)


def _converters() -> Finding:
    spec = importlib.util.find_spec("converters")
    ours = Path(edge_malaria.__file__).resolve().parent.parent / "converters"
    if spec is None or spec.origin is None:
        return Finding("converters", "problem", "not found", "reinstall edge-malaria")
    where = Path(spec.origin).resolve().parent
    if where != ours:
        return Finding(
            "converters",
            "problem",
            f"another package of that name is loaded from {where}",
            "run from another folder, or uninstall that package",
        )
    return Finding("converters", "ok", f"loads from {where}")
