"""TIFF files: their pages, and which of them are pictures in full."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge_malaria.errors import ImageError

_MOST_PAGES = 10_000
_MOST_ENTRIES = 4_096
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _COLOURS = 254, 255, 256, 257, 262
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _DNG = 273, 279, 324, 325, 50706
_READ = {_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _COLOURS, _STRIPS, _STRIP_BYTES, _TILES,
         _TILE_BYTES, _DNG}  # fmt: skip
# Colour filter arrays: what a sensor gives before it is a picture.
_RAW_COLOURS = (32803, 34892)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q",
          17: "q", 18: "Q"}  # fmt: skip


@dataclass(frozen=True)
class TiffPage:
    """One page.

    Attributes:
        number: from 0, in the file's order.
        width, height: px.
        reduced: a preview, a mask or one of the smaller copies of a pyramid.
        raw: a sensor's raw data.
    """

    number: int
    width: int
    height: int
    reduced: bool
    raw: bool


def is_tiff(data: bytes) -> bool:
    """Whether ``data`` starts like a TIFF or BigTIFF file."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tiff_pages(data: bytes, name: str) -> list[TiffPage]:
    """All pages.

    Raises:
        ImageError: damaged or cut off.
    """
    try:
        return _Reader(data).pages()
    except (struct.error, IndexError, KeyError, ValueError, OverflowError) as error:
        raise ImageError(f"{name} is damaged or cut off: {error}.") from error


def full_pages(data: bytes, name: str) -> list[TiffPage]:
    """The pages that are pictures in full.

    Raises:
        ImageError: damaged, cut off, or a camera's raw data.
    """
    pages = tiff_pages(data, name)
    if data[8:10] == b"CR" or any(page.raw for page in pages):
        raise ImageError(f"{name} holds a camera's raw data. Export it as TIFF or JPEG first.")
    full = [page for page in pages if not page.reduced]
    if not full:
        raise ImageError(f"{name} holds only previews. Export it as TIFF or JPEG first.")
    return full


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"+\0", b"\0+")

    def _at(self, code: str, offset: int) -> int:
        if offset < 0:
            raise ValueError("a place before its start")
        return int(struct.unpack_from(self.order + code, self.data, offset)[0])

    def pages(self) -> list[TiffPage]:
        place = "Q" if self.big else "I"
        offset = self._at(place, 8 if self.big else 4)
        found: list[TiffPage] = []
        visited: set[int] = set()
        while offset:
            if offset in visited or len(found) >= _MOST_PAGES:
                raise ValueError("its pages go in a circle")
            visited.add(offset)
            tags, end = self._tags(offset)
            found.append(self._page(len(found), tags))
            offset = self._at(place, end)
        if not found:
            raise ValueError("it has no page")
        return found

    def _tags(self, offset: int) -> tuple[dict[int, list[int]], int]:
        count = self._at("Q" if self.big else "H", offset)
        if count > _MOST_ENTRIES:
            raise ValueError("a page with too many entries")
        entry = offset + (8 if self.big else 2)
        size = 20 if self.big else 12
        tags = {}
        for start in range(entry, entry + count * size, size):
            tag, kind = self._at("H", start), self._at("H", start + 2)
            if tag in _READ and kind in _SIZES:
                tags[tag] = self._values(start + 4, kind)
        return tags, entry + count * size

    def _values(self, start: int, kind: int) -> list[int]:
        count = self._at("Q" if self.big else "I", start)
        place = start + (8 if self.big else 4)
        total = count * _SIZES[kind]
        if total > (8 if self.big else 4):
            place = self._at("Q" if self.big else "I", place)
        if place + total > len(self.data):
            raise ValueError("it ends before its tables do")
        return list(struct.unpack_from(f"{self.order}{count}{_CODES[kind]}", self.data, place))

    def _page(self, number: int, tags: dict[int, list[int]]) -> TiffPage:
        for offsets, sizes in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
            for start, length in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False):
                if start + length > len(self.data):
                    raise ValueError("it ends before the picture does")
        kind = (tags.get(_SUBFILE) or [0])[0]
        reduced = bool(kind & 0b101) or (tags.get(_OLD_SUBFILE) or [0])[0] == 2
        raw = (tags.get(_COLOURS) or [0])[0] in _RAW_COLOURS or _DNG in tags
        return TiffPage(number, tags[_WIDTH][0], tags[_HEIGHT][0], reduced, raw)
