"""The lower bounds of pyproject.toml, as pip takes them: what the tests of installation install."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(*extras: str) -> list[str]:
    """``name==version`` of every lower bound of the package and of the extras."""
    project = tomllib.loads(_PROJECT.read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    found: dict[str, None] = {}
    for line in lines:
        bound = re.match(r"([A-Za-z0-9_-]+)(?:\[\w+\])?.*?>=([\w.]+)", line)
        assert bound or line.startswith("edge-malaria["), f"{line} has no lower bound"
        # The environment's own TensorFlow package; the other has the same versions.
        if bound and bound.group(1) != "tensorflow":
            found[f"{bound.group(1)}=={bound.group(2)}"] = None
    return list(found)
