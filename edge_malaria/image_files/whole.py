"""Whether an image file has its end: a camera may still be writing it, a card may be damaged.

OpenCV's decoders differ between versions: some fill what is missing with grey and say nothing.
"""

from __future__ import annotations

import zlib

from edge_malaria.image_files.jpeg import jpeg_end

_PNG = b"\x89PNG\r\n\x1a\n"
# Coded data ends with so many zero bytes only where a card lost what stood there.
_ZERO_TAIL = 64


def whole_image(data: bytes) -> bool:
    """Whether an encoded image is all there: False for one that was cut off or ends in zeros.

    JPEG, PNG, WebP and BMP are looked through; of other kinds the decoder notices by itself.
    """
    if data[:2] == b"\xff\xd8":
        return jpeg_end(data) is not None
    if data[:8] == _PNG:
        return _whole_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        end = int.from_bytes(data[4:8], "little") + 8
        return len(data) >= end and any(data[max(12, end - _ZERO_TAIL) : end])
    if data[:2] == b"BM" and len(data) >= 6:
        return len(data) >= int.from_bytes(data[2:6], "little")
    return len(data) > 0


def _whole_png(data: bytes) -> bool:
    """Whether every critical chunk is there with its checksum, up to the end's."""
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            return False
        critical = kind[:1].isupper()
        if critical and zlib.crc32(data[position + 4 : end]) != int.from_bytes(
            data[end : end + 4], "big"
        ):
            return False
        if kind == b"IEND":
            return True
        position = end + 4
    return False
