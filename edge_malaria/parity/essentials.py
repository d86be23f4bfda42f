"""What each model file says of itself against bundle.json: thresholds, labels, preparation.

Every file carries the essentials of its decision (ONNX: ``metadata_props``; TFLite: an appended
``metadata.json``). They are under the file's hash and were written with its weights, so a
bundle.json whose threshold, temperature, labels, colour or size was changed afterwards, and hashed
again, is told apart from the one that was exported.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from edge_malaria.bundle.format import ModelSpec
from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity import onnx_file
from edge_malaria.parity.findings import Failure

_NAME = "metadata.json"
_PREFIX = "edge_malaria."
MAX_BYTES = 1 << 20


def read_essentials(data: bytes, engine: str, name: str) -> dict[str, Any] | None:
    """What a model file says of itself; None where it says nothing.

    Raises:
        BundleIntegrityError: it says something that cannot be read.
    """
    try:
        found = _of_tflite(data) if engine == "litert" else _of_onnx(data)
    except (ValueError, KeyError, IndexError, RecursionError, zlib.error) as error:
        raise BundleIntegrityError(f"{name}: damaged metadata ({error}).") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise BundleIntegrityError(f"{name}: damaged metadata ({error}).") from error
    return found


def _of_tflite(data: bytes) -> dict[str, Any] | None:
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.getinfo(_NAME).file_size > MAX_BYTES:
            raise ValueError("it is too large")
        return _object(archive.read(_NAME))


def _of_onnx(data: bytes) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for key, text in onnx_file.metadata(data).items():
        if key.startswith(_PREFIX):
            name = key.removeprefix(_PREFIX)
            structured = text.startswith(("{", "["))
            found[name] = json.loads(text) if structured else text
    return found or None


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def decides(value: Mapping[str, Any]) -> dict[str, Any]:
    """What decides, of a file's essentials or of a model in bundle.json: path -> value."""
    decision = value.get("decision") or {}
    points = decision.get("operating_points") or {}
    return {
        "labels": value.get("labels"),
        **{f"preprocessing.{key}": got for key, got in (value.get("preprocessing") or {}).items()},
        "decision.temperature": decision.get("temperature"),
        "decision.bias": decision.get("bias"),
        **{f"threshold of {name}": point.get("threshold") for name, point in points.items()},
    }


def essentials_failures(
    name: str, variant: str, found: Mapping[str, Any] | None, spec: ModelSpec
) -> list[Failure]:
    """Where a file and bundle.json do not say the same.

    Args:
        name: ``engine.variant``.
        found: what ``read_essentials`` gave.
        spec: of bundle.json.
    """
    if found is None:
        cause = "the file carries no essentials; export it again"
        return [Failure("signature", name, "metadata", "none", "the decision", "", cause)]
    mine, theirs = decides(spec.record), decides(found)
    failures = [
        Failure(
            "signature",
            "bundle.json",
            what,
            str(mine.get(what)),
            f"{theirs.get(what)}, as {name} carries it",
            "",
            "bundle.json was changed after the export, or the file is another bundle's",
        )
        for what in sorted({*mine, *theirs})
        if mine.get(what) != theirs.get(what)
    ]
    got = found.get("variant")
    if got != variant:
        failures.append(Failure("signature", name, "variant in its metadata", str(got), variant))
    return failures
