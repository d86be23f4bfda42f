"""What is compared: which engines run, and what a candidate gave on some cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_malaria.errors import MissingExtra, UsageError
from edge_malaria.parity.numeric import Outputs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import ENGINES, Engine, dequantize
from edge_malaria.runtime.engines.opening import installed_engines


def chosen_engines(named: Sequence[str] | None) -> tuple[str, ...]:
    """The named device engines, or those that are installed.

    Raises:
        MissingExtra: a named one is not installed.
        UsageError: a named one is unknown.
    """
    installed = installed_engines()
    if named is None:
        return installed
    for name in named:
        if name not in ENGINES:
            raise UsageError(f"unknown engine {name!r}: expected one of {', '.join(ENGINES)}.")
        if name not in installed:
            what = {"litert": "LiteRT", "onnx": "ONNX Runtime"}[name]
            raise MissingExtra(what, name)
    return tuple(dict.fromkeys(named))


def run_outputs(engine: Engine, inputs: Image, name: str) -> Outputs:
    """Runs an engine; an output of several values keeps the first (the signature fails)."""
    raw = np.asarray(engine.run_raw(inputs)).reshape(len(inputs), -1)[:, 0]
    return Outputs(name, raw, dequantize(raw, engine.output), engine.output.scale)
