"""Pieces of C text that the generated files are made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files


@cache
def template(name: str) -> str:
    """A file of ``c_kernels``."""
    return files("converters.firmware").joinpath("c_kernels", name).read_text(encoding="utf-8")


def array_lines(values: Iterable[str], width: int = 98) -> str:
    """Values as the lines of an array, at most ``width`` characters each."""
    lines, line = [], " "
    for value in values:
        if len(line) + len(value) + 2 > width:
            lines.append(line)
            line = " "
        line += f" {value},"
    return "\n".join([*lines, line])
