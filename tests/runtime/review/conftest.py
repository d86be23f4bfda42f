"""A screened slide, its open review, and the server of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_malaria.runtime.review.server import ReviewServer
from edge_malaria.runtime.review.session import ReviewSession
from tests.runtime.review.slides import screened


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One screened slide; tests take copies."""
    return screened(tmp_path_factory.mktemp("review") / "slide")


@pytest.fixture
def slide(made: Path, tmp_path: Path) -> Path:
    """A copy of the screened slide."""
    return Path(shutil.copytree(made, tmp_path / "slide"))


@pytest.fixture
def session(slide: Path) -> Iterator[ReviewSession]:
    """An open review."""
    opened = ReviewSession(slide)
    yield opened
    opened.close()


@pytest.fixture
def server(session: ReviewSession) -> Iterator[ReviewServer]:
    """A server that runs."""
    served = ReviewServer(session, "Ana")
    served.start()
    yield served
    served.stop()
