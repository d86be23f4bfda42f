"""Images in and out, and writing that is whole or not at all."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.errors import ImageError, OutputExists, StorageError
from edge_malaria.files import (
    decode_image,
    encode_image,
    image_size,
    new_directory,
    read_image,
    write_bytes,
    write_json,
)

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_png_round_trip_keeps_every_bit_and_the_channel_order() -> None:
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 200
    assert (decode_image(encode_image(red)) == red).all()
    assert (decode_image(encode_image(RGB)) == RGB).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_the_header_gives_the_size_without_decoding(suffix: str) -> None:
    assert image_size(encode_image(RGB, suffix)) == (30, 20)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_do_anything_but_refuse_or_decode(data: bytes) -> None:
    try:
        image = decode_image(data)
    except ImageError:
        return
    assert image.dtype == np.uint8 and image.ndim == 3


def test_16_bit_grey_and_alpha_become_8_bit_rgb() -> None:
    deep = (RGB.astype(np.uint16) << 8) | 7
    ok, data = cv2.imencode(".png", deep[:, :, ::-1])
    assert ok and (decode_image(data.tobytes()) == RGB).all()
    ok, data = cv2.imencode(".png", RGB[:, :, 0])
    grey = decode_image(data.tobytes())
    assert ok and (grey == RGB[:, :, :1]).all() and grey.shape == (20, 30, 3)
    alpha = np.dstack([RGB[:, :, ::-1], np.full((20, 30), 9, np.uint8)])
    ok, data = cv2.imencode(".png", alpha)
    assert ok and (decode_image(data.tobytes()) == RGB).all()


def test_an_exif_rotation_is_applied() -> None:
    ok, data = cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_QUALITY, 95])
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + bytes(4)
    body = b"Exif\x00\x00" + tiff
    jpeg = data.tobytes()
    rotated = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    assert ok and decode_image(rotated).shape == (30, 20, 3)


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK picture")
    flat = np.full((24, 32, 3), (200, 120, 140), np.uint8)
    buffer = io.BytesIO()
    pillow.fromarray(flat).convert("CMYK").save(buffer, "JPEG", quality=95)
    image = decode_image(buffer.getvalue())
    assert image.shape == flat.shape
    assert np.abs(image.astype(int) - flat).max() <= 6


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    with pytest.raises(ImageError, match="30000 x 30000"):
        decode_image(png, "bomb.png")


@pytest.mark.parametrize("data", [b"", b"not an image", encode_image(RGB)[:40]])
def test_what_is_no_image_is_an_image_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"x\.png"):
        read_image(path)


def test_a_failed_directory_leaves_nothing_and_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with new_directory(target) as work:
        (work / "a").write_text("1")
    with pytest.raises(OutputExists, match="--force"), new_directory(target):
        pass
    with pytest.raises(ZeroDivisionError), new_directory(target, force=True) as work:
        (work / "a").write_text("2")
        raise ZeroDivisionError
    assert (target / "a").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_writing_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", tmp_path / "file" / "far" / "below"):
        with pytest.raises(StorageError, match="file is a file, no folder"):
            write_bytes(path, b"x")


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full exists on Linux only")
    from edge_malaria.files import storage_errors

    with (
        pytest.raises(StorageError, match="disk full"),
        storage_errors(full),
        full.open("wb", buffering=0) as out,
    ):
        out.write(b"x")


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
