"""Writes docs/evidence/*.json: figures with the commit, the seed and the command behind them."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import write_json

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "docs" / "evidence"
_PACKAGES = ("numpy", "opencv-python-headless", "ai-edge-litert", "onnxruntime", "tensorflow-cpu")


def commit() -> str:
    """The short commit of the tree, with ``+`` where its code holds uncommitted changes."""
    try:
        words = ["git", "-C", str(ROOT)]
        name = subprocess.check_output([*words, "rev-parse", "--short", "HEAD"], text=True).strip()
        # A run writes its figures again and again: they are not what it was run with.
        code = ["status", "--porcelain", "-uno", "--", ".", ":!docs/evidence"]
        dirty = subprocess.check_output([*words, *code], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if dirty.strip() else "")


# From widest to narrowest; int8 networks are several times faster with 8-bit dot products (VNNI).
VECTORS = ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "asimddp", "asimd")


def vectors() -> str:
    """The widest vector instructions of this processor, as Linux names them."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "unknown"
    return next((name for name in VECTORS if name in words), "unknown")


def shipped_sha256(bundle: Path | None = None) -> str:
    """SHA-256 of what the figures belong to: the int8 TFLite file, or both networks' files."""
    path = bundle or ROOT / "edge_malaria" / "models" / "default"
    return read_bundle(path).deciding_sha256("int8", "litert")


def write_evidence(
    name: str, command: str, figures: dict[str, Any], seed: int | None = None
) -> Path:
    """Writes docs/evidence/``name``.json.

    Args:
        name: without suffix.
        command: what repeats it, from the project's root; no path of a machine.
        figures: JSON-able; NaN is refused.
        seed: where anything is drawn.
    """
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    path = EVIDENCE / f"{name}.json"
    head = {
        "commit": commit(),
        "command": command,
        "seed": seed,
        "machine": f"{platform.machine()} ({vectors()}), Python {platform.python_version()}",
        "versions": versions,
    }
    write_json(path, {**head, **figures})
    return path
