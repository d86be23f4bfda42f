"""How many cells each step of an export takes: fewer for a large network, from its size alone.

A step's time is about the number of its cells times the cost of one. A small network, and so each
of this project's own, takes every step in full; a large one would take an hour. The numbers depend
on the network and never on the clock, so that one model gives one bundle everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converters.calibration import CALIBRATION_CELLS
from converters.diagnose import DIAGNOSE_CELLS
from edge_malaria.bundle.golden_draw import CELLS, HALVINGS, PAIRS
from edge_malaria.parity import Settings

# Reading, drawing and resizing one pixel of the input take about as long as so many
# multiply-accumulates (MACs) of a convolution.
_MACS_PER_PIXEL = 2000
# What each step may cost, in MACs: together some four minutes of one processor core.
_LOOKED_AT, _CALIBRATION, _JUDGING, _BLENDING = 100e9, 50e9, 200e9, 1000e9
_LEAST_LOOKED_AT, _MOST_LOOKED_AT = 200, 600
_LEAST_CALIBRATION = 100
_LEAST_HALVINGS = 2
_GOLDEN = 100e9
# Cells whose layers are compared where int8 fails: each value of theirs is looked at several times.
_DIAGNOSIS, _LEAST_DIAGNOSED = 5e9, 12


@dataclass(frozen=True)
class Effort:
    """How many cells each step takes.

    Attributes:
        looked_at: labelled val cells before anything is converted.
        calibration: train cells that set int8 ranges.
        judging: val cells of the gate; at least so many that they can show its margin.
        halvings: steps that bring blends of drawn cells close to the threshold.
        golden: stored drawn cells, where calls on labelled ones decide; elsewhere all.
        diagnosed: cells that name the layers which lose most; a large one has thousands of values
            in each.
    """

    looked_at: int
    calibration: int
    judging: int
    halvings: int
    golden: int
    diagnosed: int = DIAGNOSE_CELLS


def effort_of(model: Any, delta: float) -> Effort:
    """What a network can afford.

    Args:
        model: Keras, pixels [N, S, S, 3] -> one logit, flat.
        delta: the gate's margin, a fraction.
    """
    from edge_malaria.training.architectures.registry import layer_macs

    side = int(model.input_shape[1])
    cost = sum(layer_macs(layer) for layer in model.layers) + _MACS_PER_PIXEL * side * side
    least_judging = 2 * Settings(delta=delta).min_cells
    halvings = int(_BLENDING / cost / PAIRS) - 1  # the pairs' cells are run as well
    return Effort(
        looked_at=min(_MOST_LOOKED_AT, max(_LEAST_LOOKED_AT, int(_LOOKED_AT / cost))),
        calibration=min(CALIBRATION_CELLS, max(_LEAST_CALIBRATION, int(_CALIBRATION / cost))),
        judging=max(least_judging, int(_JUDGING / cost)),
        halvings=min(HALVINGS, max(_LEAST_HALVINGS, halvings)),
        golden=min(CELLS, max(Settings().min_stored, int(_GOLDEN / cost))),
        diagnosed=min(DIAGNOSE_CELLS, max(_LEAST_DIAGNOSED, int(_DIAGNOSIS / cost))),
    )
