"""Folders: what is read, what is left out and named, names, links and clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_malaria.errors import ImageError
from edge_malaria.files import encode_image, printable, write_image
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import SourceSettings
from edge_malaria.runtime.sources.following import FollowedFolder
from edge_malaria.runtime.sources.opening import open_source
from tests.runtime.sources.pictures import film, items


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


def test_a_watched_file_that_stays_empty_is_named(tmp_path: Path, pictures: list[Image]) -> None:
    write_image(tmp_path / "a.png", pictures[0])
    (tmp_path / "b.jpg").touch()
    watched = FollowedFolder(tmp_path, SourceSettings(follow_idle_s=0.5, poll_s=0.05))
    assert [item.name for item in watched.fields()] == ["a.png"]
    assert watched.warnings == [f"1 file in {tmp_path} never became whole: b.jpg."]
