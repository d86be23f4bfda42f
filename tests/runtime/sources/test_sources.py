"""Sources: real files, folders written to while they are watched, films, silent cameras."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.errors import HardwareError, ImageError, UsageError
from edge_malaria.files import encode_image, write_image
from edge_malaria.image_files.whole import whole_image
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import SourceSettings, Unreadable
from edge_malaria.runtime.sources.cameras import CameraSource
from edge_malaria.runtime.sources.opening import open_source
from edge_malaria.runtime.sources.simulated import SimulatedSource, parse_sim
from edge_malaria.runtime.sources.video import VideoSource
from edge_malaria.synthetic import draw_field


@pytest.fixture(scope="module")
def picture() -> Image:
    """A small drawn field."""
    return draw_field(1, 320, 240, cell_diameter_px=40)[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@given(share=st.floats(0.02, 0.999))
@settings(max_examples=25, deadline=None)
def test_a_cut_off_picture_is_never_whole(picture: Image, suffix: str, share: float) -> None:
    data = encode_image(picture, suffix)
    assert whole_image(data)
    assert not whole_image(data[: max(8, int(share * len(data)))][: len(data) - 13])


def test_an_embedded_thumbnail_does_not_stand_for_the_end(picture: Image) -> None:
    data = encode_image(picture, ".jpg")
    thumbnail = encode_image(np.ascontiguousarray(picture[::8, ::8]), ".jpg")
    block = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = data[:2] + block + data[2:]
    assert whole_image(with_thumbnail)
    assert not whole_image(with_thumbnail[: len(with_thumbnail) // 2])


def test_a_folder_gives_fields_and_names_what_it_cannot_read(
    tmp_path: Path, picture: Image
) -> None:
    write_image(tmp_path / "b.jpg", picture)
    write_image(tmp_path / "d.png", np.ascontiguousarray(picture[:100, :130]))
    (tmp_path / "a.jpg").write_text("not a picture")
    (tmp_path / "c.jpg").write_bytes(encode_image(picture, ".jpg")[:3000])
    (tmp_path / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    source = open_source([str(tmp_path)])
    items = list(source.fields())
    assert source.total == 4
    assert [(i.name, type(i)) for i in items] == [
        ("a.jpg", Unreadable),
        ("b.jpg", Field),
        ("c.jpg", Unreadable),
        ("d.png", Field),
    ]
    assert isinstance(items[2], Unreadable)
    assert "cut off" in items[2].why
    assert [i.name for i in source.fields(skip={"b.jpg", "a.jpg"})] == ["c.jpg", "d.png"]


def test_same_names_in_two_folders_stay_apart(tmp_path: Path, picture: Image) -> None:
    for folder in ("one", "two"):
        write_image(tmp_path / folder / "f.jpg", picture)
    names = [i.name for i in open_source([str(tmp_path)]).fields()]
    assert names == ["one/f.jpg", "two/f.jpg"]


def test_globs_and_lists(tmp_path: Path, picture: Image) -> None:
    for name in ("a1.png", "a2.png", "b1.png"):
        write_image(tmp_path / name, picture)
    assert [i.name for i in open_source([str(tmp_path / "a*.png")]).fields()] == [
        "a1.png",
        "a2.png",
    ]
    both = [str(tmp_path / "b1.png"), str(tmp_path / "a1.png")]
    assert [i.name for i in open_source(both).fields()] == ["b1.png", "a1.png"]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for spec in ([str(tmp_path / "no.jpg")], [], ["camera:front"], ["sim:cells=3"], ["sim:seed=x"]):
        with pytest.raises(UsageError):
            open_source(spec)
    with pytest.raises(ImageError):
        open_source([str(tmp_path)])
    with pytest.raises(ImageError):
        open_source([str(tmp_path / "*.jpg")])
    with pytest.raises(UsageError):
        open_source(["sim:"], follow=True)
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(ImageError):
        open_source([str(tmp_path / "film.mp4")])


def test_follow_never_takes_a_half_written_file(tmp_path: Path, picture: Image) -> None:
    data = encode_image(picture, ".jpg", 95)
    how = SourceSettings(follow_idle_s=1.5, poll_s=0.05)

    def write_slowly() -> None:
        for number in range(3):
            with (tmp_path / f"f{number}.jpg").open("wb") as out:
                for start in range(0, len(data), len(data) // 5 + 1):
                    out.write(data[start : start + len(data) // 5 + 1])
                    out.flush()
                    # Longer than two looks: size and time stand still in between.
                    time.sleep(0.2)
        (tmp_path / "never.jpg").write_bytes(data[: len(data) // 2])

    writer = threading.Thread(target=write_slowly)
    writer.start()
    source = open_source([str(tmp_path)], follow=True, settings=how)
    items = list(source.fields())
    writer.join()
    assert [i.name for i in items] == ["f0.jpg", "f1.jpg", "f2.jpg"]
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert all(isinstance(i, Field) and np.array_equal(i.image, whole) for i in items)
    assert "never.jpg" in source.warnings[0]


def write_film(path: Path, frames: int) -> None:
    """An MJPG film of drawn noise, 10 frames a second."""
    rng = np.random.default_rng(0)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 120))
    assert film.isOpened()
    for _ in range(frames):
        film.write(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    film.release()


def test_a_film_is_sampled_and_one_that_ends_early_says_so(tmp_path: Path) -> None:
    path = tmp_path / "slide.avi"
    write_film(path, 40)
    source = VideoSource(path, SourceSettings(frames_per_s=5.0))
    names = [i.name for i in source.fields()]
    assert names == [f"slide.avi#{n}" for n in range(0, 40, 2)]
    assert source.warnings == []
    # Cut in the middle; the index at the end, which says 40 frames, is lost or lies.
    short = tmp_path / "short.avi"
    short.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = VideoSource(short, SourceSettings(frames_per_s=5.0))
    some = list(source.fields())
    assert 0 < len(some) < 20
    assert "ends early" in source.warnings[0]


class _SilentPipe:
    """A camera whose driver never answers: a named pipe that nobody writes to."""

    def __init__(self, pipe: Path) -> None:
        self._handle = os.open(pipe, os.O_RDONLY)

    def read(self) -> Image | None:
        os.read(self._handle, 1)
        return None

    def close(self) -> None:
        os.close(self._handle)


def test_a_camera_that_never_delivers_is_a_hardware_error(tmp_path: Path) -> None:
    pipe = tmp_path / "camera"
    os.mkfifo(pipe)
    source = CameraSource("camera:7", lambda: _SilentPipe(pipe), timeout_s=0.4)
    started = time.monotonic()
    with pytest.raises(HardwareError, match=r"camera:7 delivered no frame for 0\.4 s"):
        next(iter(source.fields()))
    assert time.monotonic() - started < 5
    # Lets the reader's thread go.
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


def test_a_camera_that_is_not_there_is_a_hardware_error() -> None:
    with pytest.raises(HardwareError, match="camera:93"):
        next(iter(open_source(["camera:93"]).fields()))


def test_a_camera_delivers_its_newest_frame() -> None:
    class Clock:
        def __init__(self) -> None:
            self.n = 0

        def read(self) -> Image | None:
            self.n += 1
            time.sleep(0.005)
            return np.full((2, 2, 3), min(self.n, 255), np.uint8)

        def close(self) -> None:
            self.n = -1

    camera = Clock()
    frames = CameraSource("camera:0", lambda: camera, timeout_s=60).fields()
    first = next(frames)
    # While somebody works on it, the camera goes on.
    while camera.n < 40:
        time.sleep(0.005)
    later = next(frames)
    last = next(frames)
    assert isinstance(first, Field)
    assert isinstance(later, Field)
    assert isinstance(last, Field)
    assert int(last.image[0, 0, 0]) > int(first.image[0, 0, 0]) + 15
    assert [first.index, later.index, last.index] == [0, 1, 2]
    frames.close()  # type: ignore[attr-defined]


def test_simulated_slides_are_drawn_as_asked() -> None:
    assert parse_sim("sim:parasitemia=0.01,fields=5") == {"parasitemia": 0.01, "fields": 5}
    spec = "sim:parasitemia=0.1,fields=2,seed=3,width=320,height=240,cell_diameter_px=40"
    items = list(SimulatedSource(spec).fields())
    assert [i.name for i in items] == ["sim#0", "sim#1"]
    assert all(isinstance(i, Field) for i in items)
    blurred = next(iter(SimulatedSource(spec + ",defocus=4,light=0.5").fields()))
    assert isinstance(blurred, Field)
    assert isinstance(items[0], Field)
    assert blurred.image.mean() < 0.7 * items[0].image.mean()
