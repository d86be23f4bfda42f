"""A process builds the command that it was asked for, and all of them where help needs all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_malaria.cli.app import COMMAND_MODULES, app, execute


def started(*words: str) -> tuple[int, str, set[str]]:
    """Exit code, output, and the command modules that the process loaded."""
    code = (
        "import sys, atexit\n"
        "from edge_malaria.cli import app\n"
        "atexit.register(lambda: print('loaded:', *(m for m in app.COMMAND_MODULES "
        "if 'edge_malaria.cli.' + m in sys.modules)))\n"
        "app.main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    *shown, last = ran.stdout.splitlines()
    assert last.startswith("loaded:"), ran
    return ran.returncode, "\n".join(shown) + ran.stderr, set(last.split()[1:])


@pytest.mark.parametrize(
    ("words", "said", "modules"),
    [
        (("--version",), "edge-malaria ", set()),
        (("screen", "--help"), "Screen a thin blood smear", {"screen"}),
        (("--debug", "report", "--help"), "Usage:", {"report"}),
        (("data", "synth", "--help"), "slide", {"data"}),
    ],
)
def test_one_command_loads_alone(words: tuple[str, ...], said: str, modules: set[str]) -> None:
    code, shown, loaded = started(*words)
    assert code == 0
    assert said in shown
    assert loaded == modules


@pytest.mark.parametrize("words", [(), ("--help",), ("scren",), ("users", "--help")])
def test_what_names_no_module_loads_all(words: tuple[str, ...]) -> None:
    _, shown, loaded = started(*words)
    assert loaded == set(COMMAND_MODULES)
    if words in ((), ("--help",)):
        assert all(f" {name} " in shown for name in ("screen", "restore", "selftest", "data"))


def test_every_module_has_a_command_of_its_name() -> None:
    assert execute(["--version"]) == 0
    names = {command.name for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert {name.replace("_", "-") for name in COMMAND_MODULES} <= names
