"""Pairs: every candidate against the reference, and the same variant between engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.parity import exact
from edge_malaria.parity.findings import Pair
from edge_malaria.parity.numeric import Cells, Outputs, compare_outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.parity.points import other_points, with_points
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.classify.flagged_views import Logits
from edge_malaria.runtime.engines.base import Engine, dequantize


def run_outputs(
    engine: Engine,
    inputs: Image,
    name: str,
    decision: Decision | None = None,
    second: Logits | None = None,
) -> Outputs:
    """Runs an engine on uint8 [N, S, S, 3], and asks again where ``decision`` does.

    ``second``: the second network beside it, where the bundle has one. Of several values a cell
    the first is kept; ``shapes`` has refused them.

    Raises:
        ValueError: the bundle asks a second network, and there is none beside this engine.
    """

    def values(batch: Image) -> NDArray[Any]:
        return np.asarray(engine.run_raw(batch)).reshape(len(batch), -1)[:, 0]

    def logits(batch: Image) -> NDArray[np.float32]:
        return dequantize(values(batch), engine.output)

    raw = values(inputs)
    found = Outputs(name, raw, dequantize(raw, engine.output), engine.output.scale)
    if decision is None or decision.asked_again_from is None:
        return found
    return replace(found, settled=decision.settled(found.logits, inputs, logits, second))


def compare_all(
    subject: Subject, reference: Outputs, found: Mapping[str, Outputs], cells: Cells
) -> tuple[Pair, ...]:
    """Compares outputs on the same cells, at the chosen operating point and the others."""
    candidates = {name: outputs for name, outputs in found.items() if name != reference.name}
    pairs = [_pair(subject, reference, outputs, cells) for outputs in candidates.values()]
    names = list(candidates)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            one, other = candidates[first], candidates[second]
            if one.variant == other.variant:
                pair = _pair(subject, one, other, cells)
                pairs.append(exact.with_bits(pair, one, other, subject.twins))
    return tuple(pairs)


def _pair(subject: Subject, reference: Outputs, candidate: Outputs, cells: Cells) -> Pair:
    settings = subject.settings
    pair = compare_outputs(reference, candidate, cells, subject.decision, settings)
    points = other_points(subject.spec, settings) if cells.decide else {}
    return with_points(pair, reference, candidate, cells, points, settings)
