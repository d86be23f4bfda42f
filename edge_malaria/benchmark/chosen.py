"""Which engine was fastest on this very board: kept after a benchmark, read by ``--engine auto``.

One small JSON file a user, by machine and model file. What was measured on another board, with
another file or before the engine was updated does not count: then nothing is chosen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from edge_malaria.benchmark.machine import Machine
from edge_malaria.benchmark.networks import Row
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import UsageError
from edge_malaria.files import write_json

_PACKAGES = {"litert": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",)}


def record_path() -> Path:
    """Where it is kept: ``EDGE_MALARIA_CACHE``, else the user's cache folder."""
    base = os.environ.get("EDGE_MALARIA_CACHE")
    if base:
        return Path(base) / "benchmarks.json"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "edge-malaria" / "benchmarks.json"


def remember(bundle: Bundle, rows: Sequence[Row], machine: Machine) -> dict[str, str]:
    """Keeps the fastest engine of each variant of ``bundle`` at one thread and the largest batch.

    Returns:
        variant -> engine.
    """
    own = [r for r in rows if r.model == bundle.name and r.engine in _PACKAGES and r.threads == 1]
    largest = max((row.batch for row in own), default=0)
    best: dict[str, Row] = {}
    for row in own:
        fastest = best.get(row.variant)
        if row.batch == largest and (fastest is None or row.median_us < fastest.median_us):
            best[row.variant] = row
    stored = _stored()
    for variant, row in best.items():
        stored[_key(bundle, variant, machine)] = {
            "engine": row.engine,
            "version": _version(row.engine),
            "median_us": row.median_us,
        }
    path = record_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, stored)
    return {variant: row.engine for variant, row in best.items()}


def fastest_engine(bundle: Bundle, variant: str, machine: Machine) -> str:
    """The engine that was fastest here for a variant of ``bundle``.

    Raises:
        UsageError: nothing was measured on this board for this file, or the engine has changed.
    """
    entry = _stored().get(_key(bundle, variant, machine))
    if entry is None:
        raise UsageError(
            f"--engine auto: the {variant} file of {bundle.name} was not measured on this board. "
            f"Run: edge-malaria benchmark {bundle.path}"
        )
    engine = str(entry.get("engine"))
    if engine not in _PACKAGES or entry.get("version") != _version(engine):
        raise UsageError(
            f"--engine auto: {engine} has changed since it was measured on this board. "
            f"Run again: edge-malaria benchmark {bundle.path}"
        )
    return engine


def _key(bundle: Bundle, variant: str, machine: Machine) -> str:
    files = bundle.classifier.variants.get(variant, {})
    hashes = ",".join(sorted(file.sha256[:12] for file in files.values()))
    return f"{machine.key}:{variant}:{hashes}"


def _version(engine: str) -> str:
    for name in _PACKAGES[engine]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _stored() -> dict[str, Mapping[str, object]]:
    try:
        found = json.loads(record_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return (
        {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
    )
