"""What pytest loads in every session: options that nobody else has, and nothing more.

Fixtures and tests stand in the suite's own folder (``conftest.py``), so that the suite works
however it is named: by ``--pyargs``, by its path, or in a project's ``testpaths``.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from edge_malaria.parity_suite.options import add_options, add_short_options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the prefixed options."""
    add_options(parser)


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Adds the short options after everybody else's, in a run that names the suite."""
    yield
    named = [*map(str, args), *map(str, early_config.getini("testpaths"))]
    if any("parity_suite" in word for word in named):
        add_short_options(parser)
