"""What an image's header tells before it is decoded: its size, and bits a channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_malaria.image_files.jpeg import jpeg_size
from edge_malaria.image_files.tiff import is_tiff


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) px from the header of PNG, JPEG, BMP or WebP; None where unknown.

    Read before decoding, so that a picture that would fill the memory is never decoded.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:2] == b"\xff\xd8":
        return jpeg_size(data)
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = (int.from_bytes(data[n : n + 4], "little", signed=True) for n in (18, 22))
        return abs(width), abs(height)
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30:
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    return None


def may_be_deep(data: bytes) -> bool:
    """Whether a picture may have more than 8 bits a channel."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[24:25] == b"\x10"
    portable = (b"P2", b"P3", b"P5", b"P6", b"PF", b"Pf")
    jpeg_2000 = data[4:8] == b"jP  " or data[:4] == b"\xff\x4f\xff\x51"
    return is_tiff(data) or data[:2] in portable or jpeg_2000


def eight_bits(deep: Any) -> Any | None:
    """8 bits of a picture whose 16 bits hold a camera's 10, 12, 14 or, signed, 15; else None.

    The empty part of a slide is bright, so the fewest bits that hold the brightest pixel are the
    camera's. Taken for 16 bits such a picture would be nearly black.
    """
    if deep is None or deep.dtype not in (np.uint16, np.int16) or not (deep.max() > 0):
        return None
    whole = 15 if deep.dtype == np.int16 else 16
    bits = next((b for b in (10, 12, 14) if int(deep.max()) < 1 << b), whole)
    return None if bits == 16 else (np.maximum(deep, 0) >> (bits - 8)).astype(np.uint8)
