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
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from edge_malaria.errors import ImageError, OutputExists, StorageError
from edge_malaria.records import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
# A 200-megapixel field is above any microscope camera on sale and 600 MB once decoded.
MAX_IMAGE_PIXELS = 200_000_000
# Since OpenCV 4.11 the decoder can write RGB itself, which saves turning every field around.
_DECODE_FLAG = int(getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR))


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
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise StorageError(f"cannot write {path}: {error.strerror}.") from error
        raise StorageError(f"writing {path} failed: {error}.") from error


# What a file system answers that lacks an operation, as those of USB sticks do (FAT, exFAT).
_LACKING = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES)
_notes: dict[str, None] = {}


def storage_notes() -> list[str]:
    """What the disks written to so far lack, and what that means; each is said once."""
    found = list(_notes)
    _notes.clear()
    return found


def _note_lacking(path: Path) -> None:
    _notes.setdefault(
        f"the disk of {path} cannot be told to write at once, as many USB sticks: "
        "a power cut may lose what was written last."
    )


def fsync_file(handle: int, path: Path) -> None:
    """Waits until the disk has an open file; a disk that cannot say so is noted."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _LACKING:
            raise
        _note_lacking(path.parent)


def fsync_directory(path: Path) -> None:
    """Flushes a directory's entries, so that a rename in it survives a power cut.

    A file system that cannot is noted (``storage_notes``).
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _LACKING:
            raise
        _note_lacking(path)
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _LACKING:
            raise
        _note_lacking(path)
    finally:
        os.close(handle)


def _readable_by_all(path: str | Path, mode: int) -> None:
    """Undoes mkstemp's private mode; file systems without modes have nothing to undo."""
    try:
        os.chmod(path, mode)
    except OSError as error:
        if error.errno not in _LACKING:
            raise


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yields a file that becomes ``path``, whole and on the disk, when the block ends well.

    Raises:
        StorageError: disk full or not writable.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                yield out
                out.flush()
                fsync_file(out.fileno(), path)
            _readable_by_all(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes ``data`` to ``path`` whole or not at all.

    Raises:
        StorageError: disk full or not writable.
    """
    with new_file(path) as out:
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

    On any exception nothing is left and an existing ``path`` stays as it was.

    Raises:
        OutputExists: ``path`` exists and ``force`` is False.
        StorageError: disk full or not writable.
    """
    if path.exists() and not force:
        raise OutputExists(f"{path} exists. Choose another name or add --force.")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        _readable_by_all(work, 0o755)
    try:
        yield work
        with storage_errors(path):
            old = work.with_name(work.name + ".old")
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


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return width, height
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) px from the header of PNG, JPEG, BMP or WebP; None where unknown.

    Read before decoding, so that a picture that would fill the memory is never decoded.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(width), abs(height)
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30:
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    return None


def decode_image(data: bytes, name: str = "image") -> Image:
    """Decodes an encoded image to uint8 [H, W, 3] RGB.

    Grey becomes three equal channels, alpha is dropped, CMYK and 16 bits are converted to 8-bit
    RGB, and an EXIF orientation is applied.

    Raises:
        ImageError: unreadable, empty, or above ``MAX_IMAGE_PIXELS``.
    """
    if not data:
        raise ImageError(f"{name} is empty (0 bytes).")
    size = image_size(data)
    if size is not None and not (size[0] * size[1] <= MAX_IMAGE_PIXELS):
        raise ImageError(
            f"{name} is {size[0]} x {size[1]} px, above the limit of "
            f"{MAX_IMAGE_PIXELS // 1_000_000} megapixels."
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE_FLAG)
    except cv2.error as error:
        raise ImageError(f"{name} cannot be decoded ({error.err}).") from error
    if image is None or image.size == 0:
        raise ImageError(f"{name} is not an image that can be decoded, or it is damaged.")
    if _DECODE_FLAG == cv2.IMREAD_COLOR:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.asarray(image, np.uint8)


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
    ok, data = cv2.imencode(suffix, image[:, :, ::-1], flags.get(suffix, []))
    if not ok:
        raise StorageError(f"encoding an image as {suffix} failed.")
    return bytes(data.tobytes())


def write_image(path: Path, image: Image, quality: int = 90) -> None:
    """Writes an RGB image atomically; the format follows the suffix."""
    write_bytes(path, encode_image(image, path.suffix.lower(), quality))
