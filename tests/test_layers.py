"""The import contracts cover every module, and no module imports itself by a detour."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest

from tools.tree_figures import import_circles, import_graph, layers, out_of_layers

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return import_graph()


def test_every_module_stands_in_exactly_one_layer(graph: grimp.ImportGraph) -> None:
    named = layers()
    assert len(named) == len(set(named)) > 30
    assert len(graph.modules) > 300
    assert out_of_layers(graph) == []


def test_no_import_circle(graph: grimp.ImportGraph) -> None:
    assert import_circles(graph) == []


def test_a_circle_and_a_module_without_a_layer_are_told() -> None:
    graph = grimp.ImportGraph()
    for module in ("edge_malaria", "edge_malaria.new", "edge_malaria.files", "edge_malaria.errors"):
        graph.add_module(module)
    graph.add_import(importer="edge_malaria.files", imported="edge_malaria.errors")
    assert import_circles(graph) == []
    graph.add_import(importer="edge_malaria.errors", imported="edge_malaria.files")
    assert len(import_circles(graph)) == 2
    assert out_of_layers(graph) == ["edge_malaria.new stands in no layer of pyproject.toml"]


def test_the_document_shows_every_layer() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    shown = text.partition("## Layers")[2].partition("```\n")[2].partition("```")[0]
    for name in layers():
        assert name.rsplit(".", 1)[-1] in shown, f"{name} is in no layer of ARCHITECTURE.md"
