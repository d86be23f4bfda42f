"""What pytest loads in every session: it adds the suite's options only where the suite is named.

A plugin that always added ``--bundle`` and ``--data`` could collide with a user's own options in
tests that have nothing to do with us.
"""

from __future__ import annotations

import pytest


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Registers ``options`` where an argument names ``edge_malaria.parity_suite``."""
    if any("edge_malaria.parity_suite" in argument for argument in args):
        early_config.pluginmanager.import_plugin("edge_malaria.parity_suite.options")
