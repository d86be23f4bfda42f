"""A journal's lines as bytes: JSON with a checksum at its end, in one version of the format."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from edge_malaria.errors import UsageError
from edge_malaria.runtime.slide.lines import KINDS, HeaderLine, Line

VERSION = 2
_CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"\}$')


def encoded(line: Line) -> bytes:
    """A line's bytes, checksum and end of line included."""
    record = {"kind": line.kind, **line.as_json()}
    if isinstance(line, HeaderLine):
        record = {"kind": line.kind, "version": VERSION, **line.as_json()}
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return body[:-1] + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def decoded(data: bytes) -> Line:
    """The inverse of ``encoded``, with or without the end of line.

    Raises:
        ValueError: damaged, of an unknown kind, or impossible; says which.
        UsageError: a header of another version of the journal.
    """
    data = data.removesuffix(b"\n")
    found = _CHECKSUM.search(data)
    if found is None:
        raise ValueError("it is damaged (no checksum)")
    body = data[: found.start()] + b"}"
    if zlib.crc32(body) != int(found[1], 16):
        raise ValueError("it is damaged (its checksum does not fit)")
    try:
        record = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    return _line(record)


def _line(record: Any) -> Line:
    kind = record.pop("kind", None) if isinstance(record, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind == HeaderLine.kind:
        check_version(record.pop("version", None))
    try:
        return KINDS[kind].from_json(record)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"it cannot be: {str(error)[:200]}") from error


def check_version(version: Any) -> None:
    """Refuses another format of the journal.

    Raises:
        UsageError: it is another one.
    """
    if version != VERSION:
        raise UsageError(
            f"journal.jsonl has format {version!r}; this edge-malaria reads format {VERSION}. Go "
            "on with the edge-malaria that wrote it, or screen the slide into another directory."
        )
