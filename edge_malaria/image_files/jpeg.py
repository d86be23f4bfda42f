"""JPEG files: where a picture ends, its size, and streams of pictures one behind the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Literal

_START = b"\xff\xd8"
# In a scan FF is followed by 00, FF or a restart mark; anything else is a marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
# Most pictures of a field are smaller: they are looked through once.
_BLOCK_BYTES = 1 << 24
# The Exif tag that says how a picture is to be turned; 1 is upright.
_ORIENTATION = 0x0112
# A 200-megapixel picture at the best quality.
_MOST_BYTES = 400_000_000


def jpeg_end(data: bytes | bytearray, start: int = 0) -> int | None:
    """Where the JPEG that starts at ``start`` ends; None where it is cut off or damaged.

    Thumbnails inside its headers are jumped over. Another picture's start inside a scan means that
    this one was cut off.
    """
    position = start + 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0xD9:
            return position + 2
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 2
        elif marker < 0xC0 or marker == 0xD8:
            return None
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
            if marker == 0xDA:
                found = _MARKER.search(data, position)
                if found is None:
                    return None
                position = found.start()
    return position + 2 if data[position : position + 2] == b"\xff\xd9" else None


def _starts_frame(marker: int) -> bool:
    """Whether a marker's segment holds a picture's size and channels."""
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) px from the header; None where there is none."""
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if _starts_frame(marker):
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            return int.from_bytes(data[position + 7 : position + 9], "big"), height
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def jpeg_pictures(handle: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """The JPEGs that lie one behind the other, as in a stream that a camera writes.

    What is no JPEG ends the stream: phones put films and maps there.

    Yields:
        Each picture's bytes, and whether it is whole.
    """
    data, start = bytearray(handle.read(_BLOCK_BYTES)), 0
    while True:
        while start < len(data) and data[start] == 0:
            start += 1
        if data[start : start + 2] != _START:
            more = handle.read(_BLOCK_BYTES) if len(data) - start < 2 else b""
            if not more:
                return
            data, start = data[start:] + more, 0
            continue
        end = jpeg_end(data, start)
        more = handle.read(_BLOCK_BYTES) if end is None and len(data) <= _MOST_BYTES else b""
        if more:
            data, start = data[start:] + more, 0
            continue
        if end is None:
            # Cut off; the next one, if there is one, starts at its own mark.
            end = _next_start(data, start)
            yield bytes(data[start:end]), False
        else:
            yield bytes(data[start:end]), True
        start = end


def _next_start(data: bytearray, start: int) -> int:
    found = data.find(b"\xff\xd8\xff", start + 2)
    while found >= 0:
        if jpeg_end(data, found) is not None:
            return found
        found = data.find(b"\xff\xd8\xff", found + 2)
    return len(data)


def bare_jpeg(data: bytes) -> bytes | None:
    """The picture as it is stored, without what a camera writes beside it: place, time, notes.

    Args:
        data: one whole JPEG.

    Returns:
        A JPEG of the same pixels; None where a viewer would show others: where Exif turns the
        picture, or where it has other than one or three channels.
    """
    kept, position = bytearray(_START), 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:
            return bytes(kept) + data[position:]
        if marker == 0xFF:
            position += 1
            continue
        stop = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position:stop]
        if marker == 0xE1 and _turned(segment[4:]):
            return None
        if _starts_frame(marker) and (len(segment) < 10 or segment[9] not in (1, 3)):
            return None
        # What says how colours are meant (JFIF, Adobe) stays; a profile does not: neither OpenCV
        # nor this program looks at one.
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:
            kept += segment
        position = stop
    return None


def _turned(exif: bytes) -> bool:
    """Whether an APP1 segment's contents ask for the picture to be turned or mirrored."""
    if exif[:6] != b"Exif\0\0":
        return False
    tiff = exif[6:]
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    start = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[start : start + 2], order)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == _ORIENTATION:
            return int.from_bytes(tiff[entry + 8 : entry + 10], order) != 1
    return False
