"""How many cells an export takes: all for a small network, fewer for a large one, never too few."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="exporting needs the [export] extra")

from converters.calibration import CALIBRATION_CELLS
from converters.diagnose import DIAGNOSE_CELLS
from edge_malaria.bundle.golden_draw import CELLS, HALVINGS
from edge_malaria.export.effort import effort_of


def network(side: int, filters: int) -> Any:
    """One convolution of ``27 * filters * side * side`` multiply-accumulates."""
    import keras

    inputs = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(filters, 3, padding="same")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def test_a_network_of_this_projects_size_takes_every_step_in_full() -> None:
    full = effort_of(network(64, 64), 0.01)
    assert (full.looked_at, full.calibration, full.halvings) == (600, CALIBRATION_CELLS, HALVINGS)
    assert full.judging > 5_000 and full.golden == CELLS and full.diagnosed == DIAGNOSE_CELLS


def test_a_large_network_takes_fewer_cells_but_never_too_few_for_the_margin() -> None:
    small, middle, large = (effort_of(network(224, n), 0.01) for n in (20, 100, 4000))
    assert small.calibration > middle.calibration > large.calibration == 100
    assert small.halvings > middle.halvings > large.halvings == 2
    assert small.looked_at > middle.looked_at > large.looked_at == 200
    assert small.golden > middle.golden > large.golden == 256
    assert small.diagnosed > large.diagnosed == 12
    # Three hundred of each class show a change of a point, whatever they cost.
    assert small.judging > middle.judging > large.judging == 600
    assert effort_of(network(224, 4000), 0.005).judging == 1200


def test_a_large_picture_costs_too_however_small_the_network() -> None:
    assert effort_of(network(512, 1), 0.01).judging < effort_of(network(64, 1), 0.01).judging
