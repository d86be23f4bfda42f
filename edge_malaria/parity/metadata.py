"""What each model file says of its own decision: thresholds, labels, preparation.

ONNX keeps it in ``metadata_props``, TFLite in an appended ``metadata.json``. It is under the file's
hash and was written with its weights.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity import onnx_file

_NAME = "metadata.json"
_PREFIX = "edge_malaria."
MAX_BYTES = 1 << 20


def read_metadata(data: bytes, engine: str, name: str) -> dict[str, Any] | None:
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
