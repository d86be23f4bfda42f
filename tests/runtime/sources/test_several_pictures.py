"""Files that hold several pictures: pages, frames, streams."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ImageError
from edge_malaria.files import decode_image, encode_image
from edge_malaria.image_files.several import picture_count
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import Unreadable
from edge_malaria.runtime.sources.opening import open_source
from tests.runtime.sources.pictures import images, items


def tiff_of(pages: list[Any], path: Path) -> Path:
    """A TIFF file with these pages (RGB, any depth)."""
    assert cv2.imwritemulti(str(path), [np.ascontiguousarray(p[:, :, ::-1]) for p in pages])
    return path


def with_tag(data: bytes, page: int, tag: int, old: int, new: int, value: int) -> bytes:
    """A little-endian TIFF in which ``page`` has tag ``new`` = ``value`` in place of ``old``."""
    out = bytearray(data)
    offset = struct.unpack_from("<I", out, 4)[0]
    for _ in range(page):
        count = struct.unpack_from("<H", out, offset)[0]
        offset = struct.unpack_from("<I", out, offset + 2 + 12 * count)[0]
    count = struct.unpack_from("<H", out, offset)[0]
    places = [offset + 2 + 12 * k for k in range(count)]
    place = next(p for p in places if struct.unpack_from("<H", out, p)[0] == old)
    struct.pack_into("<HHII", out, place, new, 4, 1, value)
    assert tag == new
    return bytes(out)


def _last_tag(data: bytes, page: int) -> int:
    offset = struct.unpack_from("<I", data, 4)[0]
    for _ in range(page):
        count = struct.unpack_from("<H", data, offset)[0]
        offset = struct.unpack_from("<I", data, offset + 2 + 12 * count)[0]
    count = struct.unpack_from("<H", data, offset)[0]
    return int(struct.unpack_from("<H", data, offset + 2 + 12 * (count - 1))[0])


def test_every_page_of_a_tiff_is_a_field(tmp_path: Path, pictures: list[Image]) -> None:
    path = tiff_of(pictures * 4, tmp_path / "slide.tif")
    found = items(path)
    assert [item.name for item in found] == [f"slide.tif#{n}" for n in range(12)]
    assert [item.index for item in found] == list(range(12))
    for got, drawn in zip(images(found), pictures * 4, strict=True):
        np.testing.assert_array_equal(got, drawn)
    skipped = open_source([str(path)]).fields(skip={"slide.tif#0", "slide.tif#7"})
    assert [item.name for item in skipped] == [f"slide.tif#{n}" for n in range(12) if n % 7]


def test_a_preview_page_of_a_tiff_is_no_field(tmp_path: Path, pictures: list[Image]) -> None:
    small = np.ascontiguousarray(pictures[0][::4, ::4])
    path = tiff_of([pictures[0], small], tmp_path / "a.tif")
    # OpenCV writes a Software-free file; its sample format's entry is turned into a subfile's.
    data = path.read_bytes()
    path.write_bytes(with_tag(data, 1, 254, _last_tag(data, 1), 254, 1))
    [item] = items(path)
    assert item.name == "a.tif"
    np.testing.assert_array_equal(images([item])[0], pictures[0])


def test_a_cameras_raw_data_is_refused_by_name(tmp_path: Path, pictures: list[Image]) -> None:
    path = tiff_of([pictures[0]], tmp_path / "raw.tif")
    data = path.read_bytes()
    path.write_bytes(with_tag(data, 0, 50706, _last_tag(data, 0), 50706, 1))
    [item] = items(path)
    assert isinstance(item, Unreadable)
    assert "raw data" in item.why


def test_a_tiff_whose_pages_go_in_a_circle_ends(tmp_path: Path, pictures: list[Image]) -> None:
    path = tiff_of(pictures[:2], tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    path.write_bytes(bytes(data))
    [item] = items(path)
    assert isinstance(item, Unreadable)
    assert "circle" in item.why


def test_pages_of_12_bits_are_bright_too(tmp_path: Path, pictures: list[Image]) -> None:
    path = tiff_of([p.astype(np.uint16) << 4 for p in pictures], tmp_path / "a.tif")
    for got, drawn in zip(images(items(path)), pictures, strict=True):
        np.testing.assert_array_equal(got, drawn)


@pytest.mark.parametrize("name", ["film.mjpeg", "film.mjpg", "film.jpg", "film"])
def test_every_frame_of_a_jpeg_stream_is_looked_at(
    tmp_path: Path, pictures: list[Image], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"".join(encode_image(p, ".jpg", 95) for p in pictures))
    found = items(path)
    assert [item.name for item in found] == [f"{name}#{n}" for n in range(3)]
    assert all(isinstance(item, Field) and item.stream for item in found)
    for got, drawn in zip(images(found), pictures, strict=True):
        assert np.abs(got.astype(int) - drawn).mean() < 8


def test_a_jpeg_stream_names_frames_that_are_cut_off_or_of_another_size(
    tmp_path: Path, pictures: list[Image]
) -> None:
    whole = [encode_image(p, ".jpg") for p in pictures]
    other = encode_image(np.ascontiguousarray(pictures[0][:100]), ".jpg")
    (tmp_path / "a.mjpeg").write_bytes(
        whole[0] + whole[1] + whole[2][: len(whole[2]) // 2] + whole[0] + other + whole[1][:900]
    )
    found = items(tmp_path / "a.mjpeg")
    assert [isinstance(item, Field) for item in found] == [True, True, False, True, False, False]
    why = [item.why for item in found if isinstance(item, Unreadable)]
    assert "cut off" in why[0]
    assert "another size" in why[1]


def test_a_stream_is_read_picture_by_picture(pictures: list[Image]) -> None:
    """Far more pictures than fit into one block pass through without being held."""
    from edge_malaria.image_files.jpeg import jpeg_pictures

    one = encode_image(pictures[0], ".jpg")
    handle = io.BytesIO(one * 3000)
    assert sum(whole for _, whole in jpeg_pictures(handle)) == 3000


def test_a_phones_preview_behind_a_picture_is_no_field(
    tmp_path: Path, pictures: list[Image]
) -> None:
    small = encode_image(np.ascontiguousarray(pictures[0][::4, ::4]), ".jpg")
    film = b"\0\0\0\x18ftypmp42" + b"\0" * 500
    (tmp_path / "a.jpg").write_bytes(encode_image(pictures[0], ".jpg") + small)
    (tmp_path / "b.jpg").write_bytes(encode_image(pictures[1], ".jpg") + film)
    assert [item.name for item in items(tmp_path)] == ["a.jpg", "b.jpg"]
    assert len(images(items(tmp_path))) == 2


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_every_frame_of_an_animation_is_a_field(
    tmp_path: Path, pictures: list[Image], suffix: str
) -> None:
    if not hasattr(cv2, "Animation"):
        pytest.skip("this OpenCV knows no animations: such a file is refused")
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(p[:, :, ::-1]) for p in pictures]
    animation.durations = [100] * 3
    path = tmp_path / f"a{suffix}"
    assert cv2.imwriteanimation(str(path), animation)
    found = items(path)
    assert [item.name for item in found] == [f"a{suffix}#{n}" for n in range(3)]
    for got, drawn in zip(images(found), pictures, strict=True):
        assert np.abs(got.astype(int) - drawn).mean() < 25


def test_pictures_one_behind_the_other_in_a_ppm_are_fields(
    tmp_path: Path, pictures: list[Image]
) -> None:
    (tmp_path / "a.ppm").write_bytes(b"".join(encode_image(p, ".ppm") for p in pictures))
    for got, drawn in zip(images(items(tmp_path / "a.ppm")), pictures, strict=True):
        np.testing.assert_array_equal(got, drawn)


def test_where_one_picture_is_expected_several_are_an_error(
    tmp_path: Path, pictures: list[Image]
) -> None:
    pages = tiff_of(pictures, tmp_path / "a.tif").read_bytes()
    stream = b"".join(encode_image(p, ".jpg") for p in pictures)
    for data in (pages, stream):
        assert picture_count(data, "a") == 3
        with pytest.raises(ImageError, match="holds 3 pictures"):
            decode_image(data, "a")
