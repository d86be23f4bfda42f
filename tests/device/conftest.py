"""Building ARM systems and emulating them takes minutes: only where it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips this folder's tests unless ``-m device`` names them."""
    if "device" in str(config.getoption("markexpr")):
        return
    skip = pytest.mark.skip(reason="ARM under qemu: run `make test-device`")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(skip)
