"""Files that are not what they are called, hold several pictures, or are damaged."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ImageError
from edge_malaria.files import decode_image, encode_image, printable, write_image
from edge_malaria.image_files.content import content_of
from edge_malaria.image_files.several import picture_count
from edge_malaria.image_files.whole import whole_image
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import SourceSettings, Unreadable
from edge_malaria.runtime.sources.following import FollowedFolder
from edge_malaria.runtime.sources.opening import open_source
from edge_malaria.synthetic import draw_field
from tests.runtime.sources.h264 import h264_stream


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """Three small drawn fields."""
    return [draw_field(seed, 320, 240, cell_diameter_px=40)[0] for seed in (1, 2, 3)]


def items(*specs: Path | str) -> list[Field | Unreadable]:
    """What a source gives."""
    return list(open_source([str(spec) for spec in specs]).fields())


def images(found: list[Field | Unreadable]) -> list[Image]:
    """The pictures, all of which must be readable."""
    assert all(isinstance(item, Field) for item in found), found
    return [item.image for item in found if isinstance(item, Field)]


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


def _last_tag(data: bytes, page: int) -> int:
    offset = struct.unpack_from("<I", data, 4)[0]
    for _ in range(page):
        count = struct.unpack_from("<H", data, offset)[0]
        offset = struct.unpack_from("<I", data, offset + 2 + 12 * count)[0]
    count = struct.unpack_from("<H", data, offset)[0]
    return int(struct.unpack_from("<H", data, offset + 2 + 12 * (count - 1))[0])


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


def film(path: Path, code: str, pictures: list[Image]) -> Path:
    """A film of ten frames of each picture."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10.0, (width, height))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code} film")
    for picture in pictures:
        for _ in range(10):
            writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
    writer.release()
    return path


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.mkv", "MJPG"), ("a.mp4", "mp4v"),
                                            ("a.ts", "mp4v"), ("a.mpg", "MPG1")])  # fmt: skip
@pytest.mark.parametrize("renamed", ["", "film.bin"])
def test_films_are_known_by_their_content(
    tmp_path: Path, pictures: list[Image], name: str, code: str, renamed: str
) -> None:
    path = film(tmp_path / name, code, pictures)
    if renamed:
        path = path.rename(tmp_path / renamed)
    found = items(path)
    assert len(found) >= 10
    assert all(isinstance(item, Field) and item.stream for item in found)
    assert len(items(path, path)) == len(found), "one film named twice counts once"


@pytest.mark.parametrize("name", ["slide.h264", "slide"])
def test_a_plain_h264_stream_is_a_film(tmp_path: Path, pictures: list[Image], name: str) -> None:
    path = tmp_path / name
    shown = [pictures[n // 5] for n in range(15)]
    path.write_bytes(h264_stream(shown))
    assert content_of(path.read_bytes()[:400]) == "film"
    found = items(path)
    # Such a stream has no clock; 25 frames a second are taken for granted, 5 are looked at.
    assert [item.name for item in found] == [f"{name}#0", f"{name}#5", f"{name}#10"]
    for got, drawn in zip(images(found), pictures, strict=True):
        assert np.abs(got.astype(int) - drawn).mean() < 6


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x01\x67\x64\0\x28", "film"),
        (b"\0\0\0\x01\x09\xf0\0\0\0\x01\x67", "film"),
        (b"\0\0\x01\x27\x42", "film"),
        (b"\0\0\0\x01\x40\x01\x0c", "film"),
        (b"G" + b"\0" * 187 + b"G", "film"),
        (b"\0\0\0\x18ftypheic", ""),
        (b"\0\0\0\x18ftypqt  ", "film"),
        (b"\0\0\0\x18ftypavif", "picture"),
        (b"G" + b"\0" * 300, ""),
        (b"\0\0\0\0", ""),
        (b"P6 2 2 255 ", "picture"),
        (b"Patient list", ""),
        (b"", ""),
    ],
)
def test_the_first_bytes_tell_what_a_file_is(head: bytes, kind: str) -> None:
    assert content_of(head) == kind


def test_pictures_count_whatever_they_are_called_and_the_rest_is_named(
    tmp_path: Path, pictures: list[Image]
) -> None:
    jpeg = encode_image(pictures[0], ".jpg")
    for name in ("a.jfif", "b.JPE", "c", "d.png"):
        (tmp_path / name).write_bytes(jpeg)
    heic = b"\0\0\0\x18ftypheic" + b"\0" * 100
    for name in ("e.HEIC", "f.heic", "g.dng", "notes.txt", "h"):
        (tmp_path / name).write_bytes(heic if name != "notes.txt" else b"slide 7")
    film(tmp_path / "i.avi", "MJPG", pictures[:1])
    (tmp_path / "report" / "fields").mkdir(parents=True)
    (tmp_path / "report" / "journal.jsonl").write_text("{}\n")
    (tmp_path / "report" / "fields" / "00001.jpg").write_bytes(jpeg)
    (tmp_path / ".hidden.jpg").write_bytes(jpeg)
    source = open_source([str(tmp_path)])
    assert [item.name for item in source.fields()] == ["a.jfif", "b.JPE", "c", "d.png"]
    told = " ".join(source.warnings)
    assert "5 files" in told
    assert "1 .dng, 2 .heic, 1 .txt, 1 without an ending" in told
    assert "e.HEIC" in told
    assert "1 film in" in told
    assert "i.avi" in told
    assert "1 earlier report in" in told
    watched = FollowedFolder(tmp_path, SourceSettings(follow_idle_s=0.3, poll_s=0.05))
    assert len(list(watched.fields())) == 4
    assert "2 .heic" in " ".join(watched.warnings)


def test_a_folder_without_a_picture_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ImageError, match=r"1 \.heic"):
        open_source([str(tmp_path)])


def test_linked_folders_are_read_once_and_circles_end(
    tmp_path: Path, pictures: list[Image]
) -> None:
    write_image(tmp_path / "card" / "a.png", pictures[0])
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "link").symlink_to(tmp_path / "card")
    (tmp_path / "slide" / "again").symlink_to(tmp_path / "card")
    (tmp_path / "card" / "round").symlink_to(tmp_path / "slide")
    assert [item.name for item in items(tmp_path / "slide")] == ["a.png"]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root")
def test_a_closed_folder_is_named(tmp_path: Path, pictures: list[Image]) -> None:
    write_image(tmp_path / "a.png", pictures[0])
    (tmp_path / "closed").mkdir()
    code = (
        "import sys; from edge_malaria.runtime.sources.opening import open_source\n"
        "print(open_source([sys.argv[1]]).warnings)"
    )
    os.chmod(tmp_path / "closed", 0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
            os.chmod(folder, 0o755)
    call = [sys.executable, "-c", code, str(tmp_path)]
    if os.geteuid() == 0:
        call = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *call]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    os.chmod(tmp_path / "closed", 0o755)
    if "PermissionError" in done.stderr or "ModuleNotFound" in done.stderr:
        pytest.skip("another user may not read this environment")
    assert "could not be opened: closed" in done.stdout, done.stderr


@pytest.mark.parametrize("suffix", [".tiff", ".png", ".ppm"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_cameras_bits_in_16_are_read_as_bright_as_they_are(
    pictures: list[Image], suffix: str, bits: int
) -> None:
    deep = pictures[0].astype(np.uint16) << (bits - 8)
    data = cv2.imencode(suffix, np.ascontiguousarray(deep[:, :, ::-1]))[1].tobytes()
    assert pictures[0].max() > 200
    np.testing.assert_array_equal(decode_image(data), pictures[0])


@pytest.mark.parametrize("suffix", [".tiff", ".png", ".ppm"])
def test_full_16_bits_and_black_frames_stay_as_they_were(
    tmp_path: Path, pictures: list[Image], suffix: str
) -> None:
    deep = pictures[0].astype(np.uint16) * 257
    data = cv2.imencode(suffix, np.ascontiguousarray(deep[:, :, ::-1]))[1].tobytes()
    np.testing.assert_array_equal(decode_image(data), pictures[0])
    black = np.random.default_rng(0).integers(0, 30, (40, 50, 3)).astype(np.uint16)
    assert decode_image(cv2.imencode(suffix, black)[1].tobytes()).max() < 10


def test_pages_of_12_bits_are_bright_too(tmp_path: Path, pictures: list[Image]) -> None:
    path = tiff_of([p.astype(np.uint16) << 4 for p in pictures], tmp_path / "a.tif")
    for got, drawn in zip(images(items(path)), pictures, strict=True):
        np.testing.assert_array_equal(got, drawn)


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


def test_names_that_are_no_utf_8_are_shown_and_kept_apart(
    tmp_path: Path, pictures: list[Image]
) -> None:
    folder = os.fsencode(tmp_path)
    data = encode_image(pictures[0], ".jpg")
    for name in (b"caf\xe9.jpg", b"caf\xe8.jpg", b"line\nbreak.jpg", b"\x1b[31mred.jpg"):
        with open(folder + b"/" + name, "wb") as out:
            out.write(data)
    names = [item.name for item in items(tmp_path)]
    assert sorted(names) == [
        "\\x1b[31mred.jpg", "caf\\xe8.jpg", "caf\\xe9.jpg", "line\\nbreak.jpg",
    ]  # fmt: skip
    for name in names:
        name.encode("utf-8")
    assert printable("gr\u00fc\u00df \u4e2d.jpg") == "gr\u00fc\u00df \u4e2d.jpg"


def test_a_film_whose_name_is_no_utf_8_is_read(tmp_path: Path, pictures: list[Image]) -> None:
    path = film(tmp_path / "a.avi", "MJPG", pictures)
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.avi"))
    path.rename(strange)
    assert items(strange)[0].name == "caf\\xe9.avi#0"


def test_a_stream_is_read_picture_by_picture(pictures: list[Image]) -> None:
    """Far more pictures than fit into one block pass through without being held."""
    from edge_malaria.image_files.jpeg import jpeg_pictures

    one = encode_image(pictures[0], ".jpg")
    handle = io.BytesIO(one * 3000)
    assert sum(whole for _, whole in jpeg_pictures(handle)) == 3000


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_writer_whose_clock_is_wrong_loses_no_field(
    tmp_path: Path, pictures: list[Image], skew_s: int
) -> None:
    """A file whose writer pauses is not given up for old because its time says so."""
    data = encode_image(pictures[0], ".jpg")
    path = tmp_path / "a.jpg"

    def dated(content: bytes) -> None:
        path.write_bytes(content)
        now = time.time() + skew_s
        os.utime(path, (now, now))

    dated(data[: len(data) // 2])
    writer = threading.Timer(0.6, dated, [data])
    writer.start()
    watched = FollowedFolder(tmp_path, SourceSettings(follow_idle_s=2.0, poll_s=0.05))
    [item] = list(watched.fields())
    writer.join()
    assert isinstance(item, Field)
