"""Writes the zip: versions, the doctor's findings, settings, log, counts; no name, no code."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_malaria import __version__
from edge_malaria.doctor import examine
from edge_malaria.errors import EdgeMalariaError, OutputExists
from edge_malaria.files import encode_image, new_file, read_image
from edge_malaria.runtime.store.slides import SLIDES
from edge_malaria.support.redaction import Redactor
from edge_malaria.support.shapes import (
    journal_shape,
    journals,
    names_in_journal,
    names_in_store,
    store_shape,
)

LOG_LINES = 1000
UNIT = "edge-malaria"
_MOST_PICTURES = 200
_README = """What a device sends when somebody asks for help.

versions.json       Python, packages, system
doctor.json         what `edge-malaria doctor` found
configuration.json  the settings; of texts only their length
log.txt             the last lines, names and codes removed
store.json          how many rows the database has
slides.json         how many lines, fields, cells and decisions each slide has

It holds no sample code, no name, no password or its hash, and no picture unless they were asked
for. Read it before you send it: a log may hold what nobody thought of.
"""


@dataclass(frozen=True)
class SupportBundle:
    """What was written: files in the zip, slides told of, pictures."""

    files: int
    slides: int
    pictures: int


def write_support_bundle(
    target: Path,
    data: Path | None = None,
    config: Path | None = None,
    logs: Sequence[Path] = (),
    *,
    pictures: bool = False,
) -> SupportBundle:
    """Writes the zip; it is whole or not there.

    Args:
        target: the zip to make.
        data: the device's data folder; None leaves slides and database out.
        config: the TOML that the device runs with.
        logs: files to take the last lines of; empty asks systemd's journal.
        pictures: whether the slides' pictures go in, without what a camera notes in files.

    Raises:
        OutputExists: there is such a file.
        StorageError: disk full or not writable.
    """
    if target.exists():
        raise OutputExists(f"{target} exists: choose another name.")
    found = journals(data) if data is not None else []
    redactor = Redactor(_known(data, found))
    members: dict[str, bytes] = {
        "README.txt": _README.encode(),
        "versions.json": _json(_versions()),
        "doctor.json": redactor.clean(
            _json([one.as_json() for one in examine(data)]).decode()
        ).encode(),
        "configuration.json": _json(_configuration(redactor, config)),
        "log.txt": redactor.clean(_log(logs)).encode(),
    }
    if data is not None:
        members["store.json"] = _json(store_shape(data))
        members["slides.json"] = _json([_shape(path) for path in found])
    count = 0
    with new_file(target) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if pictures:
            count = _pictures(archive, found)
    return SupportBundle(len(members) + count, len(found), count)


def _known(data: Path | None, found: Sequence[Path]) -> set[str]:
    known = {platform.node()}
    try:
        known.add(getpass.getuser())
    except (KeyError, OSError):
        # A process without an entry in the list of users has no name.
        known.discard("")
    known -= {"root", UNIT, "localhost"}
    if data is not None:
        known |= names_in_store(data)
    for path in found:
        try:
            known |= names_in_journal(path)
        except OSError:
            continue
    return known


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _versions() -> dict[str, Any]:
    packages = {
        str(one.metadata["Name"]): one.version for one in metadata.distributions() if one.version
    }
    return {
        "edge_malaria": __version__,
        "python": sys.version.split()[0],
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "packages": packages,
    }


def _configuration(redactor: Redactor, config: Path | None) -> Any:
    if config is None:
        return {}
    try:
        return redactor.settings(tomllib.loads(config.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        return {"error": type(error).__name__}


def _log(logs: Sequence[Path]) -> str:
    """The last lines of each file, or of the service's journal."""
    if not logs:
        return _service_log()
    parts = []
    for number, path in enumerate(logs, 1):
        try:
            with path.open(encoding="utf-8", errors="replace") as handle:
                parts += [f"== log {number}\n", *deque(handle, LOG_LINES)]
        except OSError as error:
            parts.append(f"== log {number}: {error.strerror}\n")
    return "".join(parts)


def _service_log() -> str:
    if shutil.which("journalctl") is None:
        return "no journalctl on this machine\n"
    words = ["journalctl", "-u", UNIT, "-n", str(LOG_LINES), "--no-pager", "-o", "short-iso"]
    try:
        ran = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"journalctl: {type(error).__name__}\n"
    return ran.stdout


def _shape(path: Path) -> dict[str, Any]:
    try:
        return journal_shape(path)
    except OSError as error:
        return {"error": type(error).__name__}


def _pictures(archive: zipfile.ZipFile, found: Sequence[Path]) -> int:
    """The slides' pictures under numbers, encoded anew: no notes of a camera, no file names."""
    count = 0
    for number, journal in enumerate(found, 1):
        for path in sorted(journal.parent.rglob("*.jpg")):
            if count >= _MOST_PICTURES:
                return count
            try:
                data = encode_image(read_image(path), ".jpg", 85)
            except (EdgeMalariaError, OSError):
                continue
            count += 1
            archive.writestr(f"pictures/{SLIDES}-{number:04d}/{count:05d}.jpg", data)
    return count
