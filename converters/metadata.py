"""The essentials inside each model file, so that a file that lost its bundle still explains itself.

ONNX: ``metadata_props``. TFLite: a ``metadata.json`` zip-appended to the flatbuffer, as TensorFlow
Lite's own metadata does; every interpreter ignores what follows the flatbuffer.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from edge_malaria.bundle.file_spec import TensorSpec

# A fixed date: the same model gives the same bytes.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def into_tflite(data: bytes, facts: Mapping[str, Any]) -> bytes:
    """Appends ``metadata.json`` to a .tflite file; the flatbuffer's bytes stay as they are."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo("metadata.json", _ZIP_DATE)
        # Deflated: microcontrollers and the size limit count every byte.
        entry.compress_type = zipfile.ZIP_DEFLATED
        text = json.dumps(facts, separators=(",", ":"), sort_keys=True, allow_nan=False)
        archive.writestr(entry, text, compresslevel=9)
    return buffer.getvalue()


def into_onnx(
    data: bytes, facts: Mapping[str, Any], tensors: Mapping[str, TensorSpec] | None = None
) -> bytes:
    """Writes facts, and the quantization of ``input`` and ``output``, into ``metadata_props``."""
    import onnx

    proto = onnx.load_model_from_string(data)
    entries = {f"edge_malaria.{key}": _text(value) for key, value in facts.items()}
    for which, spec in (tensors or {}).items():
        entries[f"edge_malaria.{which}"] = f"{spec.scale!r} {spec.zero_point}"
    del proto.metadata_props[:]
    for key in sorted(entries):
        proto.metadata_props.add(key=key, value=entries[key])
    return bytes(proto.SerializeToString())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
