"""Every command is run by the tests as a real process, not only inside the test's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_malaria.cli.app import app, execute

TESTS = Path(__file__).resolve().parents[1]


def command_names() -> set[str]:
    """What ``edge-malaria --help`` lists."""
    assert execute(["--version"]) == 0  # registers them
    groups = {group.name for group in app.registered_groups if group.name}
    return groups | {command.name for command in app.registered_commands if command.name}


def test_each_command_runs_as_a_process_somewhere() -> None:
    started: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        started |= set(re.findall(r'run_process\(\s*"([a-z-]+)"', path.read_text("utf-8")))
    names = command_names()
    assert len(names) >= 16
    assert names - started == set()


def test_registering_happens_once(capsys: pytest.CaptureFixture[str]) -> None:
    execute(["--version"])
    before = len(app.registered_commands)
    execute(["--version"])
    assert len(app.registered_commands) == before
    assert "edge-malaria " in capsys.readouterr().out
