"""Fields from files in a given order: every page, every frame, every picture of each."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from edge_malaria.errors import ImageError
from edge_malaria.files import (
    MAX_IMAGE_PIXELS,
    decode_first,
    decode_image,
    decode_page,
    printable,
)
from edge_malaria.image_files.jpeg import bare_jpeg, jpeg_pictures, jpeg_size
from edge_malaria.image_files.several import picture_count, pnm_pictures
from edge_malaria.image_files.tiff import full_pages, is_tiff
from edge_malaria.image_files.whole import whole_image
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.ahead import cores, one_ahead
from edge_malaria.runtime.sources.base import SourceSettings, Unreadable
from edge_malaria.runtime.sources.flat_tail import flat_tail_rows
from edge_malaria.runtime.sources.listing import kind_of_file
from edge_malaria.runtime.sources.names import FieldNames
from edge_malaria.runtime.sources.video import VideoSource

Item = Field | Unreadable
# What a file of fields may weigh: it is read whole.
MAX_FILE_BYTES = 2_000_000_000


def read_fields(path: Path, name: str, index: int, skip: Container[str] = ()) -> Iterator[Item]:
    """The fields of one image file: ``name``, or ``name#0``, ``name#1`` ... where it holds several.

    What cannot be read comes as ``Unreadable``.

    Args:
        path: the file.
        name: of it.
        index: of its first field.
        skip: names that are left out.
    """
    try:
        with path.open("rb") as handle:
            yield from _fields(handle, path, name, index, skip)
    except ImageError as error:
        yield Unreadable(name, index, str(error))
    except OSError as error:
        yield Unreadable(name, index, f"cannot read {printable(str(path))}: {error.strerror}.")


def _fields(
    handle: BinaryIO, path: Path, name: str, index: int, skip: Container[str]
) -> Iterator[Item]:
    shown = printable(str(path))
    if handle.read(3) == b"\xff\xd8\xff":
        handle.seek(0)
        yield from _jpegs(handle, shown, name, index, skip)
        return
    size = handle.seek(0, 2)
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{shown} is larger than {MAX_FILE_BYTES // 10**9} GB. Split it.")
    handle.seek(0)
    data = handle.read()
    if is_tiff(data):
        pages = [page.number for page in full_pages(data, shown)]
        for place, number in enumerate(pages):
            page_name = name if len(pages) == 1 else f"{name}#{place}"
            if page_name not in skip:
                yield _decoded(partial(_page, data, number, shown), page_name, index + place)
    elif len(parts := pnm_pictures(data)) > 1:
        for place, part in enumerate(parts):
            if f"{name}#{place}" not in skip:
                yield _decoded(partial(decode_image, part, shown), f"{name}#{place}", index + place)
    elif data and whole_image(data) and picture_count(data, shown) > 1:
        yield from _animation(data, shown, name, index, skip)
    elif name not in skip:
        yield _decoded(
            lambda: decode_image(data, shown), name, index, from_bottom=data[:2] == b"BM"
        )


def _page(data: bytes, number: int, shown: str) -> Image:
    """A TIFF's page; the first one is read as any picture is."""
    return decode_first(data, shown) if number == 0 else decode_page(data, number, shown)


def _decoded(
    decode: Callable[[], Image],
    name: str,
    index: int,
    *,
    stream: bool = False,
    from_bottom: bool = False,
    jpeg: bytes | None = None,
) -> Item:
    try:
        image = decode()
    except ImageError as error:
        return Unreadable(name, index, str(error))
    # A BMP file starts with its lowest row.
    rows = flat_tail_rows(image[::-1] if from_bottom else image)
    if rows:
        return Unreadable(name, index, f"damaged: the last {rows} rows of pixels hold no picture.")
    same = None if jpeg is None else bare_jpeg(jpeg)
    return Field(image, name, index, stream, same)


def _jpegs(
    handle: BinaryIO, shown: str, name: str, index: int, skip: Container[str]
) -> Iterator[Item]:
    """One JPEG, or a stream of them; such a stream has no clock, so every frame is looked at.

    A smaller picture behind the first is a preview or a map of a phone's and no frame. In a stream
    a frame of another size is refused: its cells could not be told from those counted already.
    """
    parts = jpeg_pictures(handle)
    first = next(parts)
    size = jpeg_size(first[0])
    ahead = list(islice(parts, 1))
    if not ahead or jpeg_size(ahead[0][0]) != size:
        if name not in skip:
            yield _decoded(partial(_jpeg, first, shown), name, index, jpeg=first[0])
        return
    for place, part in enumerate(chain((first,), ahead, parts)):
        frame = f"{name}#{place}"
        if frame in skip:
            continue
        if jpeg_size(part[0]) != size:
            yield Unreadable(frame, index + place, "another size than the frames before it.")
        else:
            yield _decoded(partial(_jpeg, part, shown), frame, index + place, stream=True)


def _jpeg(part: tuple[bytes, bool], shown: str) -> Image:
    data, whole = part
    if not whole:
        raise ImageError(f"{shown} is cut off or damaged: the picture's end is missing.")
    return decode_first(data, shown)


def _animation(
    data: bytes, shown: str, name: str, index: int, skip: Container[str]
) -> Iterator[Item]:
    """The frames of a GIF, WebP, PNG or AVIF that holds several."""
    if not hasattr(cv2, "imdecodeanimation"):
        raise ImageError(f"{shown} holds several pictures. Save them one by one.")
    try:
        ok, found = cv2.imdecodeanimation(np.frombuffer(data, np.uint8))
    except cv2.error as error:
        raise ImageError(f"{shown} cannot be decoded ({error.err}).") from error
    frames = list(found.frames) if ok else []
    if not frames or sum(frame.shape[0] * frame.shape[1] for frame in frames) > MAX_IMAGE_PIXELS:
        raise ImageError(f"{shown} holds several pictures that cannot be read. Save them singly.")
    for place, frame in enumerate(frames):
        if f"{name}#{place}" not in skip:
            # Decoded as BGR with or without alpha, whatever else is asked for.
            rgb = cv2.cvtColor(np.ascontiguousarray(frame[:, :, :3]), cv2.COLOR_BGR2RGB)
            yield Field(np.asarray(rgb, np.uint8), f"{name}#{place}", index + place, stream=True)


class FileSource:
    """Files in a given order: pictures, and films that were named themselves."""

    live = False

    def __init__(
        self,
        files: Sequence[tuple[str, Path]],
        settings: SourceSettings | None = None,
        warnings: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self.files, self.folder = list(files), folder
        self.settings = settings or SourceSettings()
        self.total: int | None = len(self.files)
        self.warnings: list[str] = list(warnings)
        self.facts: dict[str, Any] = {}

    def fields(self, skip: Container[str] = ()) -> Iterator[Item]:
        """See ``Source``; where there is a second core, the next field is decoded on it."""
        items = self._items(skip)
        return one_ahead(items) if cores() > 1 else items

    def _items(self, skip: Container[str]) -> Iterator[Item]:
        index = 0
        for name, path in FieldNames(skip, self.folder).settle(self.files):
            if name in skip:
                index += 1
                continue
            for item in self._of(path, name, index, skip):
                index = item.index + 1
                yield item

    def _of(self, path: Path, name: str, index: int, skip: Container[str]) -> Iterator[Item]:
        if kind_of_file(path) != "film":
            yield from read_fields(path, name, index, skip)
            return
        try:
            film = VideoSource(path, self.settings, name)
            for item in film.fields(skip):
                yield replace(item, index=index + item.index)
            self.warnings.extend(film.warnings)
        except ImageError as error:
            yield Unreadable(name, index, str(error))
