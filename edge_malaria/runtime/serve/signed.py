"""What was signed, as it was: a later version, or a later decision, must not change it.

The report and its FHIR document are written before the journal says that the slide is signed, and
the journal's fact names their hash.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_malaria.bundle.format import sha256_hex
from edge_malaria.errors import DataError
from edge_malaria.files import write_bytes
from edge_malaria.records import SlideReport

NAME = "signed.json"


def keep_signed(directory: Path, report: SlideReport, fhir: dict[str, Any]) -> str:
    """Writes what is signed and returns its SHA-256.

    Raises:
        StorageError: disk full or not writable.
    """
    document = {
        "schema_version": 1,
        "report": {**report.as_json(), "details": dict(report.details)},
        "fhir": fhir,
    }
    data = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode()
    write_bytes(directory / NAME, data)
    return sha256_hex(data)


def signed_document(directory: Path, sha256: str) -> tuple[SlideReport, dict[str, Any]]:
    """The report and the FHIR document that were signed.

    Raises:
        DataError: they are missing, or not what was signed.
    """
    path = directory / NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}, which was signed: {error.strerror}.") from error
    if sha256_hex(data) != sha256:
        raise DataError(f"{path} is not what was signed: its SHA-256 differs. Restore a backup.")
    document = json.loads(data)
    values = dict(document["report"])
    values["warnings"] = tuple(values["warnings"])
    values["ci95"] = None if values["ci95"] is None else tuple(values["ci95"])
    return SlideReport(**values), document["fhir"]
