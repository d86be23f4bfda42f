"""The report of one drawn slide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_malaria.runtime.sources.opening import open_source
from tests.runtime.report.drawn_report import SIM, pipeline, written


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A report of the drawn slide, not interrupted."""
    directory = tmp_path_factory.mktemp("reports") / "whole"
    made = pipeline(directory)
    made.run(open_source([SIM]))
    return directory, written(directory, made)
