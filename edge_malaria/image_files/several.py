"""How many pictures a file holds: pages, frames of an animation, pictures one behind the other."""

from __future__ import annotations

import io
import re
from itertools import islice

from edge_malaria.image_files.jpeg import jpeg_end, jpeg_pictures, jpeg_size
from edge_malaria.image_files.tiff import full_pages, is_tiff

_PNG = b"\x89PNG\r\n\x1a\n"
_PNM_HEADER = re.compile(rb"P[56](?:\s+(?:#[^\n]*\n\s*)*(\d+)){3}\s")
_PNM_NUMBERS = re.compile(rb"(?:#[^\n]*\n)|(\d+)")


def picture_count(data: bytes, name: str) -> int:
    """How many pictures an encoded image holds; previews and maps beside one are not counted.

    Raises:
        ImageError: a TIFF file that is damaged or holds raw data.
    """
    if is_tiff(data):
        return len(full_pages(data, name))
    if data[:2] == b"\xff\xd8":
        return _jpegs(data)
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) > 20:
        return data.count(b"ANMF") if data[20] & 2 else 1
    if data[:8] == _PNG:
        at = data.find(b"acTL", 8, data.find(b"IDAT") if b"IDAT" in data else 8)
        return int.from_bytes(data[at + 4 : at + 8], "big") if at > 0 else 1
    if data[:3] == b"GIF":
        return _gif_frames(data)
    if data[8:12] == b"avis" and data[4:8] == b"ftyp":
        return 2
    return len(pnm_pictures(data)) if data[:2] in (b"P5", b"P6") else 1


def _jpegs(data: bytes) -> int:
    """JPEGs of one size one behind the other; a smaller one behind is a preview or a map."""
    end = jpeg_end(data)
    if end is None or data.find(b"\xff\xd8\xff", end) < 0:
        return 1
    size = jpeg_size(data)
    others = islice(jpeg_pictures(io.BytesIO(data)), 1, None)
    return 1 + sum(jpeg_size(other) == size for other, _ in others)


def _gif_frames(data: bytes) -> int:
    position, frames = 13, 0
    if len(data) > 10 and data[10] & 0x80:
        position += 3 << ((data[10] & 7) + 1)
    while position < len(data):
        mark = data[position]
        if mark == 0x21:
            position = _behind_blocks(data, position + 2)
        elif mark == 0x2C and position + 10 <= len(data):
            frames += 1
            flags = data[position + 9]
            table = 3 << ((flags & 7) + 1) if flags & 0x80 else 0
            position = _behind_blocks(data, position + 10 + table + 1)
        else:
            break
    return max(frames, 1)


def _behind_blocks(data: bytes, position: int) -> int:
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1


def pnm_pictures(data: bytes) -> list[bytes]:
    """The pictures of a binary PGM or PPM file, which may lie one behind the other."""
    parts = []
    while data[:2] in (b"P5", b"P6"):
        header = _PNM_HEADER.match(data)
        if header is None:
            break
        numbers = [int(n) for n in _PNM_NUMBERS.findall(data[2 : header.end()]) if n][:3]
        channels = 3 if data[1:2] == b"6" else 1
        size = numbers[0] * numbers[1] * channels * (2 if numbers[2] > 255 else 1)
        end = header.end() + size
        parts.append(data[:end])
        data = data[end:].lstrip()
    return parts or [data]
