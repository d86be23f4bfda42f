"""Whether an image file has its end: a camera may still be writing it, a card may be damaged."""

from __future__ import annotations


def whole_image(data: bytes) -> bool:
    """Whether an encoded image has its end: False for a JPEG, PNG or WebP that was cut off.

    OpenCV fills what is missing of a cut JPEG with grey and says nothing.
    """
    if data[:2] == b"\xff\xd8":
        scan = _jpeg_scan_start(data)
        # Inside scan data FF is always followed by 00 or a restart mark: FFD9 is the end.
        return scan is not None and data.find(b"\xff\xd9", scan) >= 0
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" in data[-64:] or data.rfind(b"IEND") > 0
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if data[:2] == b"BM" and len(data) >= 6:
        return len(data) >= int.from_bytes(data[2:6], "little")
    return len(data) > 0


def _jpeg_scan_start(data: bytes) -> int | None:
    """Where the last header before the first scan ends; an EXIF thumbnail is jumped over."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 2 + length
        if marker == 0xDA:
            return position
    return None
