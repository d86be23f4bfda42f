"""One field ahead: the same fields in the same order, and nobody goes on behind who stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import write_image
from edge_malaria.runtime.sources.ahead import one_ahead
from edge_malaria.runtime.sources.base import Unreadable
from edge_malaria.runtime.sources.files import FileSource


def test_the_next_item_is_made_while_this_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in one_ahead(items()):
        assert made[min(number + 1, 2)].wait(10)
        assert not any(event.is_set() for event in made[number + 2 :])


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the card is gone")

    found = one_ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="the card is gone"):
        next(found)


def test_who_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "1.png").write_bytes(b"no picture")
    files = [(path.name, path) for path in sorted(tmp_path.iterdir())]
    assert [item.name for item in FileSource(files).fields()] == [name for name, _ in files]
    items = iter(FileSource(files).fields())
    assert next(items).name == "0.png"
    assert isinstance(next(items), Unreadable)
    del items
    assert not [t for t in threading.enumerate() if t.name.startswith("next-field")]
