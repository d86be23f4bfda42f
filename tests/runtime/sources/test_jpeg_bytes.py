"""A JPEG's own bytes go with its picture, bare of what the camera wrote beside it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.files import decode_image, encode_image
from edge_malaria.image_files.jpeg import bare_jpeg
from edge_malaria.records import Field, Image
from edge_malaria.runtime.screen.config import ReportSettings
from edge_malaria.runtime.screen.field_pictures import FieldPictures
from edge_malaria.synthetic import draw_field
from tests.runtime.sources.pictures import items


def segment(marker: int, contents: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(contents) + 2).to_bytes(2, "big") + contents


def exif(turn: int, order: str) -> bytes:
    """An APP1 segment that says where the picture was taken and how it is to be turned."""
    head = b"II*\0" if order == "little" else b"MM\0*"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if order == "little" else "big")

    place = number(0x010E, 2) + number(2, 2) + number(4, 4) + b"GPS\0"
    way = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(turn, 2) + b"\0\0"
    body = head + number(8, 4) + number(2, 2) + place + way + number(0, 4)
    return segment(0xE1, b"Exif\0\0" + body)


def beside(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments before its own."""
    return data[:2] + b"".join(segments) + data[2:]


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return encode_image(draw_field(3, 320, 240, cell_diameter_px=40)[0], ".jpg", 90)


@pytest.mark.parametrize("order", ["little", "big"])
def test_places_and_notes_are_left_out_and_the_pixels_stay(jpeg: bytes, order: str) -> None:
    more = beside(jpeg, exif(1, order), segment(0xFE, b"by NN"), segment(0xE2, b"ICC_PROFILE\0"))
    bare = bare_jpeg(more)
    assert bare is not None
    assert [word in more for word in (b"GPS", b"by NN", b"ICC_PROFILE")] == [True] * 3
    assert [word in bare for word in (b"GPS", b"by NN", b"ICC_PROFILE")] == [False] * 3
    assert np.array_equal(decode_image(bare), decode_image(more))


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("turn", [2, 3, 6, 8])
def test_a_picture_that_is_to_be_turned_has_no_bytes_that_show_it(
    jpeg: bytes, turn: int, order: str
) -> None:
    assert bare_jpeg(beside(jpeg, exif(turn, order))) is None


def test_what_is_cut_off_before_its_scan_has_none(jpeg: bytes) -> None:
    for length in (2, 3, 20, 100, jpeg.index(b"\xff\xda")):
        assert bare_jpeg(jpeg[:length]) is None


def test_fields_of_single_jpegs_alone_carry_them(jpeg: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "b.jpg").write_bytes(jpeg + jpeg)
    (tmp_path / "c.png").write_bytes(encode_image(decode_image(jpeg), ".png"))
    found = [item for item in items(tmp_path) if isinstance(item, Field)]
    assert [item.jpeg is not None for item in found] == [True, False, False, False]
    assert np.array_equal(decode_image(found[0].jpeg or b""), found[0].image)


def test_a_fields_picture_is_its_own_jpeg_unless_that_is_large(jpeg: bytes, tmp_path: Path) -> None:
    image: Image = decode_image(jpeg)
    pictures = FieldPictures(tmp_path, ReportSettings(), 0.5)
    name = pictures.as_it_is(0, Field(image, "a.jpg", 0, jpeg=jpeg))
    assert (tmp_path / name).read_bytes() == jpeg
    noise = cv2.randn(np.empty_like(image), (128, 128, 128), (90, 90, 90))
    large = encode_image(np.asarray(noise, np.uint8), ".jpg", 100)
    assert len(large) > 0.8 * image.shape[0] * image.shape[1]
    name = pictures.as_it_is(1, Field(image, "a.jpg", 0, jpeg=large))
    assert (tmp_path / name).read_bytes() == encode_image(image, ".jpg", 92)
