"""Pictures of more than 8 bits, and pictures that are damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ImageError
from edge_malaria.files import decode_image, encode_image, write_image
from edge_malaria.image_files.whole import whole_image
from edge_malaria.records import Image
from edge_malaria.runtime.sources.base import Unreadable
from tests.runtime.sources.pictures import images, items


@pytest.mark.parametrize("suffix", [".tiff", ".png", ".ppm"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_cameras_bits_in_16_are_read_as_bright_as_they_are(
    pictures: list[Image], suffix: str, bits: int
) -> None:
    deep = pictures[0].astype(np.uint16) << (bits - 8)
    data = cv2.imencode(suffix, np.ascontiguousarray(deep[:, :, ::-1]))[1].tobytes()
    assert pictures[0].max() > 200
    np.testing.assert_array_equal(decode_image(data), pictures[0])


@pytest.mark.parametrize("bits", [10, 12, 14, 15])
def test_a_cameras_bits_in_signed_16_are_read_as_bright_as_they_are(
    tmp_path: Path, pictures: list[Image], bits: int
) -> None:
    """As ImageJ and some cameras' own programs write a TIFF; a dark offset may go below 0."""
    deep = pictures[0].astype(np.int16) << (bits - 8)
    deep[0, 0] = -7
    wanted = pictures[0].copy()
    wanted[0, 0] = 0
    data = cv2.imencode(".tiff", np.ascontiguousarray(deep[:, :, ::-1]))[1].tobytes()
    np.testing.assert_array_equal(decode_image(data), wanted)
    (tmp_path / "a.tif").write_bytes(data)
    [image] = images(items(tmp_path / "a.tif"))
    np.testing.assert_array_equal(image, wanted)


def test_what_opencv_misreads_is_read_right_or_refused(pictures: list[Image]) -> None:
    deep = pictures[0].astype(np.uint16) << 4
    data = cv2.imencode(".jp2", np.ascontiguousarray(deep[:, :, ::-1]))[1].tobytes()
    bare = decode_image(data[data.index(b"\xff\x4f\xff\x51") :])
    assert np.abs(bare.astype(int) - pictures[0]).max() < 30, "12 bits, by a lossy code"
    height, width = deep.shape[:2]
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 3\nMAXVAL 65535\nTUPLTYPE RGB\nENDHDR\n"
    with pytest.raises(ImageError, match="PAM"):
        decode_image(head.encode() + deep.astype(">u2").tobytes())


def test_fractions_are_refused(pictures: list[Image]) -> None:
    """From 0 to 1, or to 65,535? Taken for levels from 0 to 255 such a picture is black."""
    data = cv2.imencode(".pfm", pictures[0].astype(np.float32) / 255)[1].tobytes()
    with pytest.raises(ImageError, match="fractions"):
        decode_image(data)


@pytest.mark.parametrize("suffix", [".tiff", ".png", ".ppm"])
def test_full_16_bits_and_black_frames_stay_as_they_were(
    tmp_path: Path, pictures: list[Image], suffix: str
) -> None:
    deep = pictures[0].astype(np.uint16) * 257
    data = cv2.imencode(suffix, np.ascontiguousarray(deep[:, :, ::-1]))[1].tobytes()
    np.testing.assert_array_equal(decode_image(data), pictures[0])
    black = np.random.default_rng(0).integers(0, 30, (40, 50, 3)).astype(np.uint16)
    assert decode_image(cv2.imencode(suffix, black)[1].tobytes()).max() < 10


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp", ".gif"])
@pytest.mark.parametrize("how", ["half", "zeros", "ends-in-zeros"])
def test_a_damaged_picture_is_never_a_field(
    tmp_path: Path, pictures: list[Image], suffix: str, how: str
) -> None:
    if suffix == ".gif" and not hasattr(cv2, "Animation"):
        pytest.skip("this OpenCV writes no GIF")
    if suffix == ".gif":
        ok, coded = cv2.imencode(suffix, np.ascontiguousarray(pictures[0][:, :, ::-1]))
        data = coded.tobytes() if ok else b""
    else:
        data = encode_image(pictures[0], suffix)
    kept = {"half": len(data) // 2, "zeros": len(data) // 2, "ends-in-zeros": len(data) * 9 // 10}
    cut = data[: kept[how]]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cut if how == "half" else cut + b"\0" * (len(data) - len(cut)))
    [item] = items(path)
    assert isinstance(item, Unreadable), how


def test_a_picture_that_a_decoder_filled_up_is_no_field(
    tmp_path: Path, pictures: list[Image]
) -> None:
    """What OpenCV 4 makes of half a JPEG, saved by a program that did not mind."""
    half = pictures[0].copy()
    half[130:] = 128
    write_image(tmp_path / "a.png", half)
    half[130:] = np.resize(half[114:130], half[130:].shape)
    write_image(tmp_path / "b.png", half)
    end = encode_image(pictures[0], ".jpg")
    (tmp_path / "c.jpg").write_bytes(end[: len(end) // 2] + b"\xff\xd9")
    assert [isinstance(item, Unreadable) for item in items(tmp_path)] == [True, True, True]
    bars = np.zeros((300, 320, 3), np.uint8)
    bars[30:270] = pictures[0]
    write_image(tmp_path / "sound" / "bars.png", bars)
    write_image(tmp_path / "sound" / "black.png", np.zeros((300, 400, 3), np.uint8))
    assert len(images(items(tmp_path / "sound"))) == 2


def test_a_png_with_a_flipped_bit_is_not_whole(pictures: list[Image]) -> None:
    data = bytearray(encode_image(pictures[0], ".png"))
    assert whole_image(bytes(data))
    data[len(data) // 2] ^= 1
    assert not whole_image(bytes(data))
    text = b"tEXtComment\0slide 7"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text) ^ 1)
    sound = encode_image(pictures[0], ".png")
    # A wrong checksum of a comment harms no pixel.
    assert whole_image(sound[:33] + chunk + sound[33:])
