"""A gate that runs again asks a file once about the same cells, and another file anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_malaria.parity.memory import Memory, RememberingEngine
from edge_malaria.runtime.engines.fake import FakeEngine


def test_the_same_file_is_asked_once_and_another_anew() -> None:
    asked: list[int] = []

    def green(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(len(pixels))
        return pixels[..., 1].astype(np.float32).mean(axis=(1, 2))

    memory = Memory()
    engine = RememberingEngine(FakeEngine(green), "aa", memory)
    cells = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8)
    first = engine.run_raw(cells)
    np.testing.assert_array_equal(first.reshape(-1), green(cells))
    asked.clear()
    kept = first.copy()
    first[:] = 0
    again = RememberingEngine(FakeEngine(green), "aa", memory)
    np.testing.assert_array_equal(again.run_raw(cells), kept)
    np.testing.assert_array_equal(again.run(cells), engine.run(cells))
    assert asked == []
    other = RememberingEngine(FakeEngine(lambda pixels: green(pixels) + 1), "bb", memory)
    np.testing.assert_array_equal(other.run_raw(cells), kept + 1)
    assert sum(asked) == 12
    # Other cells, and the same cells in another batch, are asked.
    cells[3, 2, 1] ^= 1
    assert not np.array_equal(engine.run_raw(cells), kept)
    engine.run_raw(cells[:5])
    assert sum(asked) == 12 + 12 + 5
