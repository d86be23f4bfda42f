"""A drawn field that every measure of quality accepts."""

from __future__ import annotations

import pytest

from edge_malaria.records import Image
from edge_malaria.synthetic import draw_field


@pytest.fixture(scope="package")
def field() -> Image:
    """A sharp, well-lit drawn field."""
    return draw_field(11, 960, 720, cell_diameter_px=60)[0]
