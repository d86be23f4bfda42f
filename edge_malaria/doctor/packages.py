"""What is installed here and what would be used."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import edge_malaria
from edge_malaria.doctor.finding import Finding, child
from edge_malaria.doctor.probes import (
    BUNDLE_PROBE,
    ENGINE_PROBE,
    NUMPY_PROBE,
    OPENCV_PROBE,
    PICAMERA_PROBE,
    TYPER_PROBE,
)
from edge_malaria.extras import pip_command, too_old

_MODELS = Path(edge_malaria.__file__).resolve().parent / "models"
_KEEP_NUMPY = (
    "in the environment: pip install --force-reinstall 'numpy==SYSTEM', SYSTEM being what "
    "/usr/bin/python3 -c 'import numpy; print(numpy.__version__)' prints; or install anew as "
    "README says, with the system's numpy kept"
)


def examine_packages() -> list[Finding]:
    """Looks at Python, packages, engines, bundle and ``converters``."""
    return [
        _python(),
        _numpy(),
        _opencv(),
        _typer(),
        _engine("litert", ("ai-edge-litert", "tflite-runtime"), "litert"),
        _engine("onnx", ("onnxruntime",), "onnx"),
        _used_engine(),
        _bundle(),
        _picamera(),
        _package("TensorFlow", "tensorflow", ("tensorflow-cpu", "tensorflow"), "export"),
        _package("tf2onnx", "tf2onnx", ("tf2onnx",), "export"),
        _package("training extras", "sklearn", ("scikit-learn",), "train"),
        _versions(),
        _converters(),
    ]


def _present(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _installed(names: Sequence[str]) -> str | None:
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return None


def _python() -> Finding:
    detail = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < (3, 11):  # noqa: UP036 - pip refuses an older one, a copied tree does not
        return Finding("python", "problem", detail, "install Python 3.11 or newer")
    return Finding("python", "ok", f"{detail}, {sys.executable}")


def _numpy() -> Finding:
    ok, said = child(NUMPY_PROBE)
    if ok:
        number, _, where = said.partition(" ")
        return Finding("numpy", "ok", f"numpy {number}, from {Path(where).parent.parent}")
    fix = "pip install --force-reinstall numpy" if _present("numpy") else "pip install numpy"
    return Finding("numpy", "problem", said, fix)


def _opencv() -> Finding:
    several = [name for name in ("opencv-python", "opencv-python-headless",
                                 "opencv-contrib-python", "opencv-contrib-python-headless")
               if _installed((name,))]  # fmt: skip
    ok, said = child(OPENCV_PROBE)
    if ok:
        return Finding(
            "opencv", "ok", f"OpenCV {said}" + (f", {', '.join(several)}" * bool(several))
        )
    if not _present("cv2"):
        return Finding("opencv", "problem", "not installed", "pip install opencv-python-headless")
    if "libGL" in said:
        fix = "pip uninstall -y opencv-python; pip install --force-reinstall opencv-python-headless"
    elif "numpy" in said.lower() or "_ARRAY_API" in said:
        said = f"it was built for another numpy: {said}"
        fix = (
            "pip install --force-reinstall opencv-python-headless; where numpy must stay below 2: "
            "pip install --force-reinstall 'opencv-python-headless<4.12' 'numpy<2'"
        )
    else:
        fix = "pip install --force-reinstall opencv-python-headless"
    return Finding("opencv", "problem", said, fix)


def _typer() -> Finding:
    ok, said = child(TYPER_PROBE)
    if ok:
        return Finding("command line", "ok", said)
    return Finding("command line", "problem", said, "pip install --upgrade --force-reinstall typer")


def _engine(name: str, packages: tuple[str, ...], extra: str) -> Finding:
    what = f"engine {name}"
    found = _installed(packages)
    if found is None:
        return Finding(what, "missing", "not installed", pip_command(extra))
    ok, said = child(ENGINE_PROBE, name, str(_MODELS / "default"))
    if ok:
        return Finding(what, "ok", f"{found}, runs the shipped model")
    if said.startswith("killed"):
        fix = "this build does not fit this processor: install another version or engine"
    elif "cv2" in said or "opencv" in said.lower():
        fix = "mend OpenCV first (above)"
    else:
        fix = pip_command(extra).replace("pip install", "pip install --force-reinstall", 1)
    return Finding(what, "problem", f"{found}: {said}", fix)


def _used_engine() -> Finding:
    if _present("ai_edge_litert") or _present("tflite_runtime"):
        return Finding("engine used", "ok", "litert (change with --engine)")
    if _present("onnxruntime"):
        return Finding("engine used", "ok", "onnx (change with --engine)")
    return Finding("engine used", "problem", "none", pip_command("litert"))


def _bundle() -> Finding:
    ok, said = child(BUNDLE_PROBE, str(_MODELS / "default"))
    if not ok:
        broken = "Import" in said or "ModuleNotFound" in said
        fix = "mend numpy and OpenCV first (above)" if broken else "install edge-malaria again"
        return Finding("bundle used", "problem", said, fix)
    names = ", ".join(sorted(p.name for p in _MODELS.iterdir() if (p / "bundle.json").is_file()))
    return Finding("bundle used", "ok", f"{said}; ships {names}")


def _picamera() -> Finding:
    what = "picamera2"
    if not _present("picamera2"):
        fix = (
            "for a Raspberry Pi camera: sudo apt install python3-picamera2, and an environment "
            "made with --system-site-packages"
        )
        return Finding(what, "missing", "not installed (camera:0 and video need none)", fix)
    ok, said = child(PICAMERA_PROBE)
    if ok:
        return Finding(what, "ok", f"imports with {said}")
    another = any(word in said for word in ("numpy", "_ARRAY_API", "dtype size"))
    fix = _KEEP_NUMPY if another else "sudo apt install --reinstall python3-picamera2"
    cause = "its compiled parts were built for another numpy: " if another else ""
    return Finding(what, "problem", cause + said, fix)


def _package(what: str, module: str, packages: tuple[str, ...], extra: str) -> Finding:
    if _present(module):
        return Finding(what, "ok", _installed(packages) or "installed")
    return Finding(
        what, "missing", "not installed", f"for training and export: {pip_command(extra)}"
    )


def _versions() -> Finding:
    old = too_old()
    if not old:
        return Finding("versions", "ok", "nothing installed is older than was tested")
    detail = ", ".join(f"{name} {have} is below {lowest}" for name, have, lowest in old)
    newer = " ".join(f"'{name}>={lowest}'" for name, _, lowest in old)
    return Finding("versions", "problem", detail, f"pip install {newer}")


def _converters() -> Finding:
    try:
        spec = importlib.util.find_spec("converters")
    except (ImportError, ValueError):
        spec = None
    ours = Path(edge_malaria.__file__).resolve().parent.parent / "converters"
    if spec is None or spec.origin is None:
        return Finding("converters", "problem", "not found", "install edge-malaria again")
    where = Path(spec.origin).resolve().parent
    if where != ours:
        return Finding(
            "converters",
            "problem",
            f"another package of that name is loaded from {where}",
            "run from another folder, or uninstall that package",
        )
    return Finding("converters", "ok", f"loads from {where}")
