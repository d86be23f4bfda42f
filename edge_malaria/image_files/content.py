"""What a file is, by its first bytes: names lie, and cameras and phones invent new ones."""

from __future__ import annotations

from typing import Literal

Content = Literal["picture", "film", ""]
# Enough for every mark below: a transport stream repeats its own after 188 bytes.
HEAD_BYTES = 400

_PICTURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM",
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
    b"\x59\xa6\x6a\x95", b"#?RADIANCE", b"v/1\x01",
)  # fmt: skip
_FILMS = (
    b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"\0\0\x01\xb0", b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11", b"OggS", b"YUV4MPEG2",
)  # fmt: skip
_NOT_READ = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"crx ")
# Units that an H.264 or H.265 stream starts with: access unit delimiter, parameter sets, SEI.
_H264_UNITS, _H265_UNITS = (6, 7, 8, 9), (32, 33, 34, 35, 39)


def content_of(head: bytes) -> Content:
    """``picture``, ``film`` or "" for a file that starts with ``head`` (``HEAD_BYTES`` of it)."""
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "picture"
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "picture"
    if head[4:8] == b"ftyp":
        return _boxed(head)
    film = head.startswith(_FILMS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    film = film or _transport_stream(head) or _elementary_stream(head)
    return "film" if film else ""


def _boxed(head: bytes) -> Content:
    """MP4 and QuickTime hold film, AVIF a picture; HEIC is neither: OpenCV cannot read it."""
    brand = head[8:12]
    if brand in (b"avif", b"avis"):
        return "picture"
    return "" if brand in _NOT_READ else "film"


def _transport_stream(head: bytes) -> bool:
    return any(
        head[start : start + 1] == head[start + size : start + size + 1] == b"G"
        for start, size in ((0, 188), (4, 192), (0, 204))
    )


def _elementary_stream(head: bytes) -> bool:
    start = next((len(m) for m in (b"\0\0\0\x01", b"\0\0\x01") if head.startswith(m)), 0)
    if not start or len(head) <= start + 1:
        return False
    first, second = head[start], head[start + 1]
    h264 = first & 0x80 == 0 and first & 0x1F in _H264_UNITS
    h265 = first & 0x81 == 0 and (first >> 1) in _H265_UNITS and second == 1
    return h264 or h265
