"""Benchmarks and tools import one way: no circle, and nothing that ships imports them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def modules(*folders: str) -> dict[str, Path]:
    """Module name -> file, below each folder."""
    found = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_benchmark_imports_itself_by_a_detour() -> None:
    known = modules("benchmarks", "tools")
    graph = {name: {i for i in imports(path) if i in known} for name, path in known.items()}
    assert sum(len(targets) for targets in graph.values()) > 20
    while True:
        leaves = {name for name, targets in graph.items() if not targets & graph.keys()}
        if not leaves:
            break
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    assert not graph, f"these import each other: {sorted(graph)}"


def test_nothing_that_ships_imports_a_benchmark_or_a_tool() -> None:
    for name, path in modules("edge_malaria", "converters").items():
        wrong = {i for i in imports(path) if i.split(".")[0] in ("benchmarks", "tools", "tests")}
        assert not wrong, f"{name} imports {sorted(wrong)}"


def test_documents_are_written_last() -> None:
    for name, path in modules("benchmarks").items():
        if not name.startswith("benchmarks.documents."):
            assert not [i for i in imports(path) if i.startswith("benchmarks.documents")], name
