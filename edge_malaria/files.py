"""Writing that survives a power cut, and images in and out.

A file is written beside its place, flushed to the disk, then renamed; a directory likewise.
BGR exists only in this module and where ``cv2`` reads a camera.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from edge_malaria.disk_sync import fsync_directory, fsync_file, set_mode
from edge_malaria.errors import ImageError, OutputExists, StorageError
from edge_malaria.image_files.header import eight_bits, image_size, may_be_deep
from edge_malaria.image_files.several import picture_count
from edge_malaria.image_files.whole import whole_image
from edge_malaria.leftovers import OLD, held, sweep
from edge_malaria.records import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
# A 200-megapixel field is above any microscope camera on sale and 600 MB once decoded.
MAX_IMAGE_PIXELS = 200_000_000
# Since OpenCV 4.11 the decoder can write RGB itself, which saves turning every field around.
_DECODE_FLAG = int(getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR))
# Always BGR: asked for RGB, OpenCV 5.0 gives noise for a TIFF of 16 bits.
_DEEP_FLAG = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def printable(text: str) -> str:
    """A file's name as it may be shown and written: what is no UTF-8 or no letter is escaped.

    Names may hold bytes of another code page, line breaks and terminal commands.
    """
    if text.isascii() and text.isprintable():
        return text
    raw = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in raw)


def csv_text(text: str) -> str:
    """A cell of a table that no spreadsheet takes for a formula; ``from_csv_text`` undoes it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def from_csv_text(text: str) -> str:
    """The inverse of ``csv_text``."""
    return text[1:] if text.startswith("'") else text


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns an OSError from writing ``path`` into a StorageError with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageError(f"disk full while writing {path}. Free some space.") from error
        above = next((p for p in path.parents if os.path.lexists(p) and not os.path.isdir(p)), None)
        if above is not None:
            raise StorageError(f"cannot write {path}: {above} is a file, no folder.") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise StorageError(f"cannot write {path}: {error.strerror}.") from error
        raise StorageError(f"writing {path} failed: {error.strerror or error}.") from error


@contextmanager
def new_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yields a file that becomes ``path``, whole and on the disk, when the block ends well.

    Until then its owner alone can read it; ``mode`` is what it has afterwards.

    Raises:
        StorageError: disk full or not writable; or ``path`` is a device, which must stay one.
    """
    with storage_errors(path):
        _check_no_device(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            # Until it has its name no sweep may take it for a dead process's.
            with held(Path(temporary)):
                with os.fdopen(handle, "wb") as out:
                    yield out
                    out.flush()
                    fsync_file(out.fileno(), path)
                set_mode(temporary, mode)
                os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def _check_no_device(path: Path) -> None:
    """Renaming onto /dev/null or /dev/stdout would put a file in its place, for everybody."""
    special = path.exists() and not (path.is_file() or path.is_dir())
    if special or os.path.realpath(path.parent) == "/dev":
        raise StorageError(f"{path} is a device or a pipe, expected the name of a file to write.")


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes ``data`` to ``path`` whole or not at all.

    Raises:
        StorageError: disk full or not writable.
    """
    with new_file(path, mode) as out:
        out.write(data)


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` of UTF-8 text; what UTF-8 cannot hold is written as an escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, document: Any) -> None:
    """Writes a JSON document, indented and with a final newline; NaN is refused."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def new_directory(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary directory that becomes ``path`` when the block ends well.

    What a killed process left of an earlier try is swept first (``leftovers``).
    On any exception nothing is left and an existing ``path`` stays as it was.

    Raises:
        OutputExists: ``path`` exists and ``force`` is False.
        StorageError: disk full or not writable.
    """
    sweep(path)
    if path.exists() and not force:
        raise OutputExists(f"{path} exists. Choose another name or add --force.")
    with storage_errors(path):
        _check_no_device(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        set_mode(work, 0o755)
    try:
        with held(work):
            yield work
        with storage_errors(path):
            old = work.with_name(work.name + OLD)
            if path.exists():
                os.replace(path, old)
            os.replace(work, path)
            fsync_directory(path.parent)
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def is_image(path: str | Path) -> bool:
    """Whether the name ends like an image that this package reads."""
    return str(path).lower().endswith(IMAGE_SUFFIXES)


def decode_image(data: bytes, name: str = "image") -> Image:
    """Decodes an encoded image to uint8 [H, W, 3] RGB.

    Grey becomes three equal channels, alpha is dropped, CMYK and 16 bits are converted to 8-bit
    RGB, and an EXIF orientation is applied.

    Raises:
        ImageError: unreadable, empty, cut off, above ``MAX_IMAGE_PIXELS``, or several pictures.
    """
    if not data:
        raise ImageError(f"{name} is empty (0 bytes).")
    _check_size(data, name)
    if not whole_image(data):
        raise ImageError(f"{name} is cut off or damaged: the image's end is missing.")
    count = picture_count(data, name)
    if count > 1:
        raise ImageError(f"{name} holds {count} pictures, one is expected. Save them one by one.")
    return decode_first(data, name)


def decode_first(data: bytes, name: str) -> Image:
    """``decode_image`` of the first picture, without asking whether it is whole and alone."""
    if data.startswith(b"P7"):
        # OpenCV 5.0 takes the bytes of its 16-bit levels in the wrong order.
        raise ImageError(f"{name} is a PAM file, which is not read. Save it as PNG or TIFF.")
    _check_size(data, name)
    pixels = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(pixels, _DECODE_FLAG)
        deep = cv2.imdecode(pixels, _DEEP_FLAG) if may_be_deep(data) else None
    except cv2.error as error:
        raise ImageError(f"{name} cannot be decoded ({error.err}).") from error
    if image is None or image.size == 0:
        raise ImageError(f"{name} is not an image that can be decoded, or it is damaged.")
    if deep is not None and deep.dtype.kind == "f":
        raise ImageError(
            f"{name} holds fractions, which do not say what white is. Save it with 8 or 16 bits."
        )
    return _as_rgb(image, eight_bits(deep))


def _check_size(data: bytes, name: str) -> None:
    size = image_size(data)
    if size is not None and not (size[0] * size[1] <= MAX_IMAGE_PIXELS):
        raise ImageError(
            f"{name} is {size[0]} x {size[1]} px, above the limit of "
            f"{MAX_IMAGE_PIXELS // 1_000_000} megapixels."
        )


def _as_rgb(image: Any, of_deep: Any | None) -> Image:
    """What ``_DECODE_FLAG`` gave, or the 8 bits of what ``_DEEP_FLAG`` gave, as RGB."""
    if of_deep is not None:
        return np.asarray(cv2.cvtColor(of_deep, cv2.COLOR_BGR2RGB), np.uint8)
    if _DECODE_FLAG == cv2.IMREAD_COLOR:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.asarray(image, np.uint8)


def decode_page(data: bytes, number: int, name: str) -> Image:
    """Page ``number``, from 0, of a TIFF file as uint8 [H, W, 3] RGB.

    Raises:
        ImageError: it cannot be decoded.
    """
    pixels = np.frombuffer(data, np.uint8)

    def page(flag: int) -> Any:
        try:
            _, found = cv2.imdecodemulti(pixels, flag, range=(number, number + 1))
        except cv2.error as error:
            raise ImageError(f"{name} cannot be decoded ({error.err}).") from error
        return found[0] if found else None

    image, deep = page(_DECODE_FLAG), page(_DEEP_FLAG)
    if image is None or image.size == 0:
        raise ImageError(f"{name} cannot be decoded, or it is damaged.")
    return _as_rgb(image, eight_bits(deep))


def read_image(path: Path) -> Image:
    """Reads an image file to uint8 [H, W, 3] RGB; see ``decode_image``.

    Raises:
        ImageError: missing, unreadable, empty, or too large.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}.") from error
    return decode_image(data, str(path))


def encode_image(image: Image, suffix: str = ".png", quality: int = 90) -> bytes:
    """Encodes uint8 [H, W, 3] RGB as PNG, JPEG or WebP bytes (``quality`` 1-100, not for PNG)."""
    flags = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }
    # Not ``image[:, :, ::-1]``: turning the channels of five megapixels that way takes longer than
    # encoding them.
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(suffix, bgr, flags.get(suffix, []))
    if not ok:
        raise StorageError(f"encoding an image as {suffix} failed.")
    return bytes(data.tobytes())


def write_image(path: Path, image: Image, quality: int = 90) -> None:
    """Writes an RGB image atomically; the format follows the suffix."""
    write_bytes(path, encode_image(image, path.suffix.lower(), quality))
