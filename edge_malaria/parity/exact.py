"""Candidates that must give another one's bits, not only stay within limits.

The C file compiled with XNNPACK's rounding is held to LiteRT, with TensorFlow Lite Micro's to that
interpreter: there a single changed weight shows, where limits for quantization noise let it pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.parity.findings import Failure, Pair
from edge_malaria.parity.numeric import Outputs


@dataclass(frozen=True, eq=False)
class Twin:
    """Whose bits a candidate must give.

    Attributes:
        of: the candidate's name, ``litert.int8``; or words, where ``raw`` is given.
        cause: what most likely happened where a bit differs.
        rows: golden cells that ``raw`` belongs to; None where ``of`` runs beside the candidate.
        raw: the outputs expected of them, [len(rows)].
    """

    of: str
    cause: str
    rows: NDArray[np.intp] | None = None
    raw: NDArray[Any] | None = None


Twins = Mapping[str, Sequence[Twin]]


def _difference(got: NDArray[Any], expected: NDArray[Any]) -> tuple[str, str]:
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return f"{got.dtype} {got.shape}", f"{expected.dtype} {expected.shape}"
    steps = np.abs(got.astype(np.int64) - expected.astype(np.int64))
    cells = int(np.count_nonzero(steps))
    return f"{cells} of {len(got)} cells differ, by up to {int(steps.max(initial=0))} steps", ""


def stored_failures(outputs: Outputs, twins: Twins) -> list[Failure]:
    """A candidate's outputs on golden cells against those computed beforehand."""
    found = []
    for twin in twins.get(outputs.name, ()):
        if twin.rows is None or twin.raw is None:
            continue
        got = outputs.raw[twin.rows]
        if not len(twin.rows):
            what, wanted = "golden cells with known bits", f"some of {twin.of}"
            found.append(Failure("tensors", outputs.name, what, "none", wanted, "", twin.cause))
        elif got.dtype != twin.raw.dtype or not np.array_equal(got, twin.raw):
            what = f"outputs on {len(twin.rows)} golden cells"
            said, wanted = _difference(got, twin.raw)
            wanted = wanted or f"the bits of {twin.of}"
            found.append(Failure("tensors", outputs.name, what, said, wanted, "0", twin.cause))
    return found


def with_bits(pair: Pair, first: Outputs, second: Outputs, twins: Twins) -> Pair:
    """The pair, failed where the second must give the first's bits and does not."""
    cause = next((t.cause for t in twins.get(second.name, ()) if t.of == first.name), None)
    if cause is None or pair.bit_identical:
        return pair
    stage = "tensors" if pair.delta_sensitivity is None else "statistics"
    said, wanted = _difference(second.raw, first.raw)
    what = f"outputs on {pair.evidence} cells"
    wanted = wanted or f"the bits of {first.name}"
    failure = Failure(stage, second.name, what, said, wanted, "0", cause)
    return replace(pair, failures=(*pair.failures, failure))


def scale_failures(outputs: Mapping[str, TensorSpec], twins: Twins) -> list[Failure]:
    """Scale and zero point of an output against its twin's: the same bits must mean the same."""
    found = []
    for name, held in twins.items():
        for twin in held:
            if name not in outputs or twin.of not in outputs:
                continue
            got, wanted = (
                (float(np.float32(spec.scale)), spec.zero_point)
                for spec in (outputs[name], outputs[twin.of])
            )
            if got != wanted:
                cause = "wrong scale" if got[0] != wanted[0] else "wrong zero point"
                what, against = "output scale and zero point", f"{wanted} as in {twin.of}"
                found.append(Failure("signature", name, what, str(got), against, "", cause))
    return found


def not_compared(twins: Twins, names: Sequence[str]) -> list[str]:
    """What a candidate that ran should have been held to, and was not."""
    return [
        f"{name} bit for bit against {twin.of}: that did not run"
        for name, held in twins.items()
        for twin in held
        if name in names and twin.rows is None and twin.of not in names
    ]
