"""The import contracts cover every module, and no module imports itself by a detour."""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edge_malaria", "converters")
# Data that ships: they hold no code.
DATA = ("edge_malaria.models", "edge_malaria.schemas")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import, those for type checkers alone included."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)


def layers() -> list[str]:
    """The modules that the contract "Imports point one way" names, in its order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if one["type"] == "layers"]
    return [name.strip() for line in contract["layers"] for name in line.split("|")]


def test_every_module_stands_in_exactly_one_layer(graph: grimp.ImportGraph) -> None:
    named = layers()
    assert len(named) == len(set(named))
    for module in sorted(graph.modules):
        homes = [name for name in named if module == name or module.startswith(f"{name}.")]
        if len(homes) == 1 or module in DATA:
            continue
        # A package whose modules stand in several layers may only gather names of its own.
        assert not homes, f"{module} stands in {homes}"
        inside = {name for name in named if name.startswith(f"{module}.")}
        assert inside, f"{module} stands in no layer of pyproject.toml"
        foreign = {
            name
            for name in graph.find_modules_directly_imported_by(module)
            if not name.startswith(f"{module}.")
        }
        assert not foreign, f"{module} imports {foreign} and stands in no layer"


def test_no_import_circle(graph: grimp.ImportGraph) -> None:
    for module in graph.modules:
        for name in graph.find_modules_directly_imported_by(module):
            back = graph.find_shortest_chain(name, module)
            assert back is None, f"a circle of imports: {module} -> {' -> '.join(back or ())}"
