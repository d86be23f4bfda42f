"""Folders and zips as systems, programs and web sites leave them."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.storage import MAX_FILE_BYTES, open_storage
from edge_malaria.errors import DatasetError
from tests.data.cells import picture, write

NAMES = [f"cell_images/{c}/{i}.png" for c in ("Parasitized", "Uninfected") for i in range(2)]


def packed(
    path: Path,
    names: list[str],
    way: int = zipfile.ZIP_DEFLATED,
    extra: dict[str, bytes] | None = None,
) -> Path:
    """A zip of a picture for each name."""
    with zipfile.ZipFile(path, "w", way) as archive:
        for number, name in enumerate(names):
            archive.writestr(zipfile.ZipInfo(name), picture(number), way)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return path


def test_what_macos_and_windows_add_is_no_cell(tmp_path: Path) -> None:
    junk = {
        "__MACOSX/cell_images/Parasitized/._0.png": b"\0\5\26\7" + bytes(40),
        "cell_images/Parasitized/._1.png": b"\0\5\26\7" + bytes(40),
        "cell_images/Parasitized/.DS_Store": b"x",
        "cell_images/Parasitized/.ipynb_checkpoints/0-checkpoint.png": picture(99),
        "cell_images/Uninfected/Thumbs.db": b"x",
    }
    data = open_dataset(packed(tmp_path / "cells.zip", NAMES, extra=junk))
    assert [row.file for row in data.rows] == NAMES
    folder = write(tmp_path / "folder", NAMES)
    for name, content in junk.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    unpacked = open_dataset(folder)
    assert [row.file for row in unpacked.rows] == NAMES
    for opened in (data, unpacked):
        assert "5 files of the operating system" in " ".join(opened.warnings)


def test_backslashes_of_windows_are_separators(tmp_path: Path) -> None:
    names = [name.replace("/", "\\") for name in NAMES]
    data = open_dataset(packed(tmp_path / "cells.zip", names))
    assert [row.file for row in data.rows] == NAMES
    assert data.read(data.rows[0]).shape == (8, 8, 3)


@pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_read(tmp_path: Path, way: int) -> None:
    data = open_dataset(packed(tmp_path / "cells.zip", NAMES, way))
    assert data.read(data.rows[3]).shape == (8, 8, 3)


def _patched(path: Path, offsets: tuple[int, int], value: int) -> Path:
    """Changes a 16-bit field in every local header and directory entry of a zip."""
    data = bytearray(path.read_bytes())
    for magic, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets, strict=True):
        place = data.find(magic)
        while place >= 0:
            struct.pack_into("<H", data, place + offset, value)
            place = data.find(magic, place + 4)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize(("method", "words"), [(9, "Deflate64"), (93, "Zstandard"), (77, "77")])
def test_unknown_packings_are_refused_with_the_reason(
    tmp_path: Path, method: int, words: str
) -> None:
    path = _patched(packed(tmp_path / "cells.zip", NAMES), (8, 10), method)
    if method == 93 and sys.version_info >= (3, 14):
        pytest.skip("this Python unpacks Zstandard")
    with pytest.raises(DatasetError, match=rf"packed with .*{words}.*Unpack it"):
        open_dataset(path)


def test_an_encrypted_zip_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = _patched(packed(tmp_path / "cells.zip", NAMES), (6, 8), 1)
    with pytest.raises(DatasetError, match="is encrypted"):
        open_dataset(path)


def test_sizes_are_checked_before_anything_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(NAMES):
            archive.writestr(name, picture(number))
        with archive.open("cell_images/Uninfected/bomb.png", "w", force_zip64=True) as out:
            for _ in range(MAX_FILE_BYTES // 2**20 + 1):
                out.write(bytes(2**20))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"bomb.png unpacks to \d+ bytes"):
        open_dataset(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7z archive"),
        (b"Rar!\x1a\x07", "RAR archive"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz file"),
        (bytes(257) + b"ustar", "tar archive"),
        (b"PK\x03\x04 and then nothing", "cut off or damaged"),
        (b"", "neither a folder nor a readable zip"),
    ],
)
def test_what_is_no_zip_is_named(tmp_path: Path, head: bytes, words: str) -> None:
    path = tmp_path / "cells.zip"
    path.write_bytes(head + bytes(100) if head else b"")
    with pytest.raises(DatasetError, match=words):
        open_dataset(path)


def test_a_zip_in_a_zip_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("cell_images.zip", packed(tmp_path / "in.zip", NAMES).read_bytes())
    with pytest.raises(DatasetError, match=r"no images but cell_images.zip"):
        open_dataset(tmp_path / "archive.zip")


@pytest.mark.skipif(os.name != "posix", reason="links need POSIX")
def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "disk", [name.removeprefix("cell_images/") for name in NAMES])
    root = tmp_path / "cells"
    root.mkdir()
    for label in ("Parasitized", "Uninfected"):
        (root / label).symlink_to(tmp_path / "disk" / label)
    (root / "again").symlink_to(root)
    (root / "Parasitized" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    data = open_dataset(root)
    assert [row.file for row in data.rows] == [n.removeprefix("cell_images/") for n in NAMES]
    assert "links that lead nowhere" in " ".join(data.warnings)


def test_links_inside_a_zip_are_no_cells(tmp_path: Path) -> None:
    path = packed(tmp_path / "cells.zip", NAMES)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("cell_images/Parasitized/link.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "../Uninfected/0.png")
    data = open_dataset(path)
    assert len(data.rows) == 4
    assert "links inside the zip" in " ".join(data.warnings)


def test_pictures_are_told_by_content_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "cells", NAMES)
    place = root / "cell_images" / "Parasitized"
    (place / "a.jfif").write_bytes(picture(50, ".jpg"))
    (place / "b").write_bytes(picture(51))
    (place / "c.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (place / "d.dng").write_bytes(b"II*\0" + bytes(50))
    (place / "e.txt").write_text("notes")
    (place / "f.txt").write_text("notes")
    write(root, ["other/x.png"], 70)
    data = open_dataset(root)
    assert {row.name for row in data.rows} == {"0.png", "1.png", "a.jfif", "b"}
    for words in (
        "left out 2: .txt files in class folders",
        "left out 1: .heic files",
        "left out 1: .dng files",
        "left out 1: pictures outside the class folders",
    ):
        assert any(words in line for line in data.warnings), words


@pytest.mark.skipif(sys.platform != "linux", reason="names of other bytes need Linux")
def test_a_name_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    root = write(tmp_path / "cells", NAMES)
    odd = os.fsencode(root / "cell_images" / "Parasitized") + b"/zelle-\xe4.png"
    with open(odd, "wb") as out:
        out.write(picture(60))
    data = open_dataset(root)
    [row] = [row for row in data.rows if "zelle" in row.file]
    row.file.encode("utf-8")
    assert data.read(row).shape == (8, 8, 3)


def test_a_zip_made_by_another_program_is_read(tmp_path: Path) -> None:
    if shutil.which("zip") is None:
        pytest.skip("the program zip is not installed")
    root = write(tmp_path / "cells", NAMES)
    subprocess.run(["zip", "-qr", "../cells.zip", "."], cwd=root, check=True)
    assert [row.file for row in open_dataset(tmp_path / "cells.zip").rows] == NAMES


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_zips_never_end_in_anything_but_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = packed(tmp_path_factory.mktemp("zip") / "cells.zip", NAMES)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        opened = open_dataset(path)
        for row in opened.rows:
            opened.read_bytes(row)
    except DatasetError:
        pass


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    storage = open_storage(write(tmp_path / "cells", NAMES))
    (tmp_path / "cells" / NAMES[0]).unlink()
    with pytest.raises(DatasetError, match=r"0\.png is damaged"):
        storage.read(NAMES[0])
    with pytest.raises(DatasetError, match="is not there"):
        storage.read("other.png")
