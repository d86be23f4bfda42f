"""A field keeps its name while files of the same name arrive in other folders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_malaria.errors import UsageError
from edge_malaria.files import write_image
from edge_malaria.records import Image
from edge_malaria.runtime.sources.base import SourceSettings
from edge_malaria.runtime.sources.following import FollowedFolder
from edge_malaria.runtime.sources.names import Known
from edge_malaria.runtime.sources.opening import open_source


def _write(folder: Path, pictures: Iterator[Image], *names: str) -> None:
    for name in names:
        write_image(folder / name, next(pictures))


@pytest.fixture
def fresh(pictures: list[Image]) -> Iterator[Image]:
    """Pictures, as many as are asked for."""
    return (pictures[number % len(pictures)] for number in range(100))


def _names(folder: Path, *known: str) -> list[str]:
    skip = Known(frozenset(known))
    return [item.name for item in open_source([str(folder)]).fields(skip) if item.name not in skip]


@pytest.mark.parametrize("again", ["", "1/a.png"])
def test_a_watched_folder_gives_no_file_twice(
    tmp_path: Path, fresh: Iterator[Image], again: str
) -> None:
    """A camera opens its next folder and counts from one; it may have moved the first away."""
    _write(tmp_path, fresh, "1/a.png", "1/b.png")
    watched = FollowedFolder(tmp_path, SourceSettings(follow_idle_s=2.0, poll_s=0.02))
    found = []
    for item in watched.fields():
        found.append(item.name)
        if len(found) == 2:
            if again:
                (tmp_path / again).unlink()
            _write(tmp_path, fresh, "2/a.png")
        if len(found) == 3:
            _write(tmp_path, fresh, "a.png")
        if len(found) == 4:
            threading.Timer(0.3, watched.ended.set).start()
    assert found == ["a.png", "b.png", "2/a.png", "./a.png"]


def test_a_resumed_folder_takes_what_came_and_nothing_twice(
    tmp_path: Path, fresh: Iterator[Image]
) -> None:
    _write(tmp_path, fresh, "1/a.png", "1/b.png", "2/c.png")
    assert _names(tmp_path) == ["a.png", "b.png", "c.png"]
    assert _names(tmp_path, "a.png") == ["b.png", "c.png"]
    # Counted while it was watched, when the second folder came.
    _write(tmp_path, fresh, "2/a.png")
    assert _names(tmp_path, "a.png", "b.png", "2/a.png") == ["c.png"]
    assert _names(tmp_path, "1/a.png") == ["b.png", "2/a.png", "c.png"]
    _write(tmp_path, fresh, "a.png")
    assert _names(tmp_path, "a.png", "b.png", "2/a.png", "./a.png") == ["c.png"]
    assert _names(tmp_path) == ["1/a.png", "b.png", "2/a.png", "c.png", "a.png"]


@pytest.mark.parametrize("known", ["a.png", "a.png#0"])
def test_files_of_which_either_may_be_the_counted_one_are_refused(
    tmp_path: Path, fresh: Iterator[Image], known: str
) -> None:
    _write(tmp_path, fresh, "1/a.png", "2/a.png", "2/b.png")
    with pytest.raises(
        UsageError, match=r"2 files are called a\.png by now \(1/a\.png, 2/a\.png\)"
    ):
        _names(tmp_path, known)
    (tmp_path / "2" / "a.png").rename(tmp_path / "2" / "c.png")
    assert set(_names(tmp_path, "a.png")) == {"b.png", "c.png"}


def test_what_is_wanted_again_is_given_under_its_name(
    tmp_path: Path, fresh: Iterator[Image]
) -> None:
    _write(tmp_path, fresh, "1/a.png", "2/a.png")
    skip = Known(frozenset(["a.png", "2/a.png"]), frozenset(["a.png"]))
    assert [item.name for item in open_source([str(tmp_path)]).fields(skip)] == ["a.png"]
