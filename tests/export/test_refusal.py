"""A refusal names each cause once, before what it made fail."""

from __future__ import annotations

from edge_malaria.export.refusal import refusal
from edge_malaria.parity import Failure


def test_each_cause_stands_once_and_first() -> None:
    swapped = [
        Failure("tensors", f"{engine}.int8", "SQNR", "3 dB", ">= 18 dB", "", "colours swapped")
        for engine in ("litert", "onnx")
    ]
    alone = Failure("goldens", "golden/keras.npz", "outputs", "empty", "finite")
    lines = refusal("theirs", [alone, *swapped]).splitlines()
    assert lines[1] == "  cause, of 2 of 3 failures: colours swapped"
    assert sum("colours swapped" in line for line in lines) == 1
    assert len(lines) == 5
    many = refusal("theirs", [alone] * 20)
    assert "and 8 more" in many
    assert "compared nothing" in refusal("theirs", [])
