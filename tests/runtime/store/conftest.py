"""A disk of any kind will do for these tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def any_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' folders may lie in memory."""
    monkeypatch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")
