"""What was signed, as it was: a later version, or a later decision, must not change it.

The report and its FHIR document are written before the journal says that the slide is signed, and
the journal's fact names their hash.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_malaria.bundle.spec import sha256_hex
from edge_malaria.errors import DataError
from edge_malaria.files import write_bytes
from edge_malaria.records import SlideReport
from edge_malaria.runtime.report.fhir import Sample, fhir_bundle
from edge_malaria.runtime.serve.reading import OpenSlide
from edge_malaria.runtime.store.slides import SlideEntry

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


def sign_entry(opened: OpenSlide, entry: SlideEntry, report: SlideReport, who: str) -> SlideEntry:
    """Keeps what is signed, then tells the journal; the slide is signed when this returns.

    Args:
        opened: the slide.
        entry: its line, not signed yet.
        report: what is signed.
        who: signs, by a name as it is kept.

    Raises:
        StorageError: disk full or not writable; nothing was signed.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    fhir = fhir_bundle(report, Sample(entry.sample, entry.created, now, who))
    sha256 = keep_signed(opened.session.directory, report, fhir)
    signed = replace(entry, state="signed", signed_by=who, signed_at=now, signed_sha256=sha256)
    opened.session.journal.append(signed.fact())
    return signed


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
