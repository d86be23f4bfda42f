"""Films, known by their content."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.image_files.content import content_of
from edge_malaria.records import Field, Image
from tests.runtime.sources.h264 import h264_stream
from tests.runtime.sources.pictures import film, images, items


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


def test_a_film_whose_name_is_no_utf_8_is_read(tmp_path: Path, pictures: list[Image]) -> None:
    path = film(tmp_path / "a.avi", "MJPG", pictures)
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.avi"))
    path.rename(strange)
    assert items(strange)[0].name == "caf\\xe9.avi#0"


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
