"""A gate that runs again asks a file once about the same cells, and another file anew."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from edge_malaria.parity.memory import Key, Memory, RememberingEngine
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.fake import FakeEngine

A, B = ("aa", "fake", 1), ("bb", "fake", 1)


def test_the_same_file_is_asked_once_and_another_anew() -> None:
    asked: list[int] = []

    def green(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(len(pixels))
        return pixels[..., 1].astype(np.float32).mean(axis=(1, 2))

    memory = Memory()
    engine = RememberingEngine(lambda _: FakeEngine(green), A, memory)
    cells = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8)
    first = engine.run_raw(cells)
    np.testing.assert_array_equal(first.reshape(-1), green(cells))
    asked.clear()
    kept = first.copy()
    first[:] = 0
    again = RememberingEngine(lambda _: FakeEngine(green), A, memory)
    np.testing.assert_array_equal(again.run_raw(cells), kept)
    np.testing.assert_array_equal(again.run(cells), engine.run(cells))
    assert asked == []
    other = RememberingEngine(lambda _: FakeEngine(lambda p: green(p) + 1), B, memory)
    np.testing.assert_array_equal(other.run_raw(cells), kept + 1)
    assert sum(asked) == 12
    # Other cells, and the same cells in another batch, are asked.
    cells[3, 2, 1] ^= 1
    assert not np.array_equal(engine.run_raw(cells), kept)
    engine.run_raw(cells[:5])
    assert sum(asked) == 12 + 12 + 5


def test_one_file_is_open_at_a_time_and_only_where_it_is_asked() -> None:
    opened: list[Key] = []
    alive: weakref.WeakSet[Engine] = weakref.WeakSet()
    memory = Memory()

    def engine(key: Key) -> RememberingEngine:
        def opening(threads: int) -> Engine:
            opened.append((*key[:2], threads))
            one = FakeEngine(lambda pixels: pixels[..., 1].mean(axis=(1, 2)))
            alive.add(one)
            return one

        return RememberingEngine(opening, key, memory)

    cells = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    first, second, threaded = engine(A), engine(B), engine(("aa", "fake", 2))
    # Each was opened once, to see that it loads and what its ends are.
    assert opened == [A, B, ("aa", "fake", 2)] and len(alive) == 1
    assert first.input.shape == (48, 48, 3)
    values = [one.run_raw(cells) for one in (first, second, threaded)]
    assert opened == [A, B, ("aa", "fake", 2)] * 2 and len(alive) == 1
    opened.clear()
    for one, value in zip((first, second, threaded), values, strict=True):
        np.testing.assert_array_equal(one.run_raw(cells), value)
    np.testing.assert_array_equal(engine(A).run_raw(cells), values[0])
    assert opened == []
    memory.close()
    assert not alive
