"""Pairs: every candidate against the reference, and the same variant between engines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_malaria.parity import exact
from edge_malaria.parity.findings import Pair
from edge_malaria.parity.numeric import Cells, Outputs, compare_outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.parity.points import other_points, with_points
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import Engine, dequantize


def run_outputs(engine: Engine, inputs: Image, name: str) -> Outputs:
    """Runs an engine on uint8 [N, S, S, 3].

    Of several values a cell the first is kept; ``shapes`` has refused them.
    """
    raw = np.asarray(engine.run_raw(inputs)).reshape(len(inputs), -1)[:, 0]
    return Outputs(name, raw, dequantize(raw, engine.output), engine.output.scale)


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
    points = other_points(subject.spec, settings)
    return with_points(pair, reference, candidate, cells, points, settings)
