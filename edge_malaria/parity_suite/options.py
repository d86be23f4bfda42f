"""The suite's options: prefixed ones always, the short ones of old where they are free.

Every pytest session of an environment loads these, so they must not take a name that a project
gives its own options. ``--data`` and its kin are added only in a run that names the suite, after
the project's conftest files, and only where nobody else has them.
"""

from __future__ import annotations

from typing import Any

import pytest

PREFIX = "--edge-malaria-"
# short name -> what pytest needs to know of the option
OPTIONS: dict[str, dict[str, Any]] = {
    "bundle": {"help": "bundle directory or zip; default: the shipped one"},
    "data": {"help": "data set: adds the statistics on real cells"},
    "patients": {"help": "a patients.csv that names every file"},
    "split": {"choices": ["train", "val", "test", "all"], "help": "default: test"},
    "engine": {"help": "comma-separated: litert,onnx,c,tflm; default: what is installed"},
    "delta": {"type": float, "help": "non-inferiority margin, default: 0.01"},
}


def _destination(name: str) -> str:
    return f"edge_malaria_{name}"


def _taken(parser: pytest.Parser) -> set[str]:
    """Every option name that the session knows; pytest has no public way to ask."""
    groups = [*getattr(parser, "_groups", []), getattr(parser, "_anonymous", None)]
    options = [option for group in groups if group for option in group.options]
    return {name for option in options for name in option.names()}


def add_options(parser: pytest.Parser) -> None:
    """Adds the prefixed options, once."""
    taken, group = _taken(parser), parser.getgroup("edge-malaria parity")
    for name, about in OPTIONS.items():
        if PREFIX + name not in taken:
            group.addoption(PREFIX + name, dest=_destination(name), default=None, **about)


def add_short_options(parser: pytest.Parser) -> None:
    """Adds ``--bundle``, ``--data`` and the others where no plugin or conftest has them."""
    # Without pytest's list of options nobody can tell whether a name is free.
    if not hasattr(parser, "_groups"):
        return
    taken, group = _taken(parser), parser.getgroup("edge-malaria parity")
    for name, about in OPTIONS.items():
        if f"--{name}" not in taken:
            words = {**about, "help": f"short for {PREFIX}{name}"}
            group.addoption(f"--{name}", dest=_destination(name), default=None, **words)


def option(config: pytest.Config, name: str) -> Any:
    """The option's value; None where it was not given, or no plugin was loaded."""
    return config.getoption(_destination(name), default=None)
