"""What engines and converters freed goes back to the system; outputs keep no engine alive."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from converters.freed_memory import give_back
from edge_malaria.bundle.format import read_bundle
from edge_malaria.runtime.engines.opening import open_engine

MIB = 1 << 20


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_blocks_go_back_to_the_system() -> None:
    # Small blocks below a last one: the heap cannot shrink by itself.
    held = [b"x" * 100_000 for _ in range(600)]
    last = b"x" * 100_000
    full = resident_bytes()
    del held
    give_back()
    assert resident_bytes() < full - 30 * MIB
    assert len(last) == 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kept_outputs_keep_no_session_alive(shipped_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle = read_bundle(shipped_bundle)
    data = bundle.read(bundle.classifier.file("float32", "onnx").file)
    cells = np.zeros((64, 48, 48, 3), np.uint8)

    def answered() -> np.ndarray:
        engine = open_engine(data, "onnx")
        engine.run_raw(cells)
        return engine.run_raw(cells[:1])

    kept = [answered()]
    give_back()
    before = resident_bytes()
    kept += [answered() for _ in range(12)]
    give_back()
    assert resident_bytes() - before < 40 * MIB, "twelve sessions take 140 MB"
    assert all(len(one) == 1 for one in kept)
