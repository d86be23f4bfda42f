"""``--help``: commands in groups, whole sentences, examples that name options which exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from edge_malaria.cli.app import app, execute
from edge_malaria.cli.help import EXAMPLES, GROUPS
from tests.cli import run_cli


def commands() -> Iterator[tuple[str, Any]]:
    """(words, command) of every command, those inside groups included."""
    execute(["--version"])
    yield from _walk(typer.main.get_command(app), [])


def _walk(command: Any, words: list[str]) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(words), command
        return
    for name, one in inner.items():
        yield from _walk(one, [*words, name])


def examples_of(words: str, command: Any) -> list[str]:
    """The example lines of a command: of ``EXAMPLES``, and of its docstring."""
    return [*EXAMPLES.get(words, ()), *re.findall(r"edge-malaria ([^\n`]+)", command.help or "")]


def test_the_list_is_grouped_and_cuts_no_sentence() -> None:
    shown = run_cli("--help").out
    assert "Further commands" not in shown
    places = [shown.index(f"{title}:") for title in GROUPS]
    assert places == sorted(places)
    for line in shown.splitlines():
        assert not line.rstrip().endswith("...") or "ARGS]..." in line, line


def test_groups_of_commands_cut_no_sentence_either() -> None:
    for group in ("data", "bundle"):
        shown = run_cli(group, "--help").out
        assert not re.search(r"\w\.\.\.$", shown, re.MULTILINE), shown


def test_every_command_has_an_example() -> None:
    without = [words for words, command in commands() if not examples_of(words, command)]
    assert not without


def test_examples_stand_in_the_help_and_name_options_that_exist() -> None:
    known = dict(commands())
    assert set(EXAMPLES) <= set(known)
    for words, command in known.items():
        options = {name for parameter in command.params for name in parameter.opts}
        for line in examples_of(words, command):
            assert line.startswith(words), line
            given = {word for word in shlex.split(line) if re.match(r"--?[a-z]", word)}
            assert given <= options | {"--help"}, (line, given - options)


@pytest.mark.parametrize("words", ["screen", "data synth cells"])
def test_examples_are_printed_unwrapped(words: str) -> None:
    shown = run_cli(*words.split(), "--help").out
    for line in EXAMPLES[words]:
        assert f"  edge-malaria {line}\n" in shown
