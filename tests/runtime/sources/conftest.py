"""Drawn fields that the tests of sources put into files."""

from __future__ import annotations

import pytest

from edge_malaria.records import Image
from edge_malaria.synthetic import draw_field


@pytest.fixture(scope="session")
def pictures() -> list[Image]:
    """Three small drawn fields, uint8 [240, 320, 3]."""
    return [draw_field(seed, 320, 240, cell_diameter_px=40)[0] for seed in (1, 2, 3)]
