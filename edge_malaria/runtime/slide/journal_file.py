"""A journal's file as it lies on the disk: its header, its ended lines, and a torn tail.

Reading alone: ``journal`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_malaria.errors import DataError, UsageError
from edge_malaria.runtime.slide.line_coding import check_version, decoded
from edge_malaria.runtime.slide.lines import HeaderLine

# A field with 100,000 cells and a full gallery takes some 8 MB.
MAX_LINE_BYTES = 64_000_000
_FIRST_VERSION = re.compile(rb'\{"journal": ?1\b')


def read_header(path: Path) -> HeaderLine:
    """The header of the journal at ``path``.

    Raises:
        UsageError: none there, another version's, or its header is damaged.
        DataError: not readable.
    """
    if not path.is_file():
        raise UsageError(f"nothing to resume: {path.parent} holds no {path.name}.")
    try:
        with path.open("rb") as handle:
            first = handle.readline(MAX_LINE_BYTES)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from error
    if _FIRST_VERSION.match(first):
        check_version(1)
    try:
        line = decoded(first)
    except ValueError as error:
        raise UsageError(
            f"{path} cannot be resumed: its first line says what the run was, and {error}. "
            "Screen the slide anew into another directory."
        ) from error
    if not isinstance(line, HeaderLine):
        raise UsageError(f"{path} cannot be resumed: it does not start with a header.")
    return line


def ended_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each ended line, and of a last one that only lacks its end.

    Raises:
        DataError: not readable.
    """
    try:
        with path.open("rb") as handle:
            number = 0
            while data := handle.readline(MAX_LINE_BYTES):
                number += 1
                if data.endswith(b"\n") or _is_whole(data):
                    yield number, data
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from error


def _is_whole(data: bytes) -> bool:
    try:
        decoded(data)
    except ValueError:
        return False
    except UsageError:
        return True
    return True


def torn_tail(path: Path, size: int) -> bytes:
    """What follows the last end of line in the first ``size`` bytes; empty where nothing does."""
    with path.open("rb") as handle:
        kept = b""
        while size:
            step = min(size, 1 << 16)
            size -= step
            handle.seek(size)
            part = handle.read(step)
            cut = part.rfind(b"\n")
            if cut >= 0:
                return part[cut + 1 :] + kept
            kept = part + kept
    return kept
