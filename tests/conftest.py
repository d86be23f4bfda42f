"""Shared fixtures: the real data (skipped where absent) and the shipped bundle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real cells and fields that EDGE_MALARIA_DATA names."""
    value = os.environ.get("EDGE_MALARIA_DATA")
    if not value:
        pytest.skip("EDGE_MALARIA_DATA is not set: real cells are not in the project")
    path = Path(value)
    if not path.is_dir():
        pytest.skip("EDGE_MALARIA_DATA names no folder: real cells are not in the project")
    return path


@pytest.fixture(scope="session")
def shipped_bundle() -> Path:
    """The bundle inside the package."""
    import edge_malaria

    path = Path(edge_malaria.__file__).parent / "models" / "default"
    assert path.is_dir(), "the shipped bundle is missing from the package"
    return path
