"""What a gate that runs again in one process, after each fallback recipe, need not ask again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.parity.numeric import Cells
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import Engine, dequantize

# SHA-256 of a file, its engine, and with how many threads.
Key = tuple[str, str, int]


@dataclass(eq=False)
class Memory:
    """Of one bundle in the making and one data set.

    One file is open at a time: engines hold a large network's weights two or three times over.

    Attributes:
        outputs: a file and its engine, and the SHA-256 of a batch -> what the file gave.
        ends: a file and its engine -> its input and output.
        cells: split -> its labelled cells, read and prepared.
    """

    outputs: dict[tuple[Key, str], NDArray[Any]] = field(default_factory=dict)
    ends: dict[Key, tuple[TensorSpec, TensorSpec]] = field(default_factory=dict)
    cells: dict[str, Cells] = field(default_factory=dict)
    _open: tuple[Key, Engine] | None = None

    def opened(self, key: Key, opening: Callable[[int], Engine]) -> Engine:
        """The engine of a file; the one that was open before is closed."""
        if self._open is None or self._open[0] != key:
            self.close()
            self._open = key, opening(key[2])
        return self._open[1]

    def close(self) -> None:
        """Closes the file that is open."""
        self._open = None


class RememberingEngine:
    """An engine that is asked about a batch once, as long as its file stays the same.

    Args:
        opening: a number of threads -> the file on its engine; called where it is asked anew.
        key: of the file, its engine and the threads.
        memory: shared by the runs of a gate.

    Raises:
        BundleIntegrityError: the engine cannot load the file.
    """

    def __init__(self, opening: Callable[[int], Engine], key: Key, memory: Memory) -> None:
        self._opening, self._key, self._memory = opening, key, memory
        self.name = key[1]
        if key not in memory.ends:
            engine = memory.opened(key, opening)
            memory.ends[key] = engine.input, engine.output
        self.input, self.output = memory.ends[key]

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """See ``Engine.run_raw``."""
        pixels = np.ascontiguousarray(batch)
        words = f"{pixels.dtype.str}{pixels.shape}".encode()
        key = self._key, hashlib.sha256(words + pixels.data).hexdigest()
        if key not in self._memory.outputs:
            engine = self._memory.opened(self._key, self._opening)
            self._memory.outputs[key] = engine.run_raw(pixels)
        return self._memory.outputs[key].copy()

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        return dequantize(self.run_raw(batch), self.output)
