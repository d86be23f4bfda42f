"""The studies beside what ships: what they may read, and their arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.data.dataset import Row
from edge_malaria.training.classifier.cells import CellSet

ROOT = Path(__file__).parents[2]


def test_nothing_that_trains_what_ships_knows_the_other_laboratory() -> None:
    """westlake is for reporting: training and ``make model`` have no way to it."""
    sources = [*(ROOT / "edge_malaria" / "training").rglob("*.py")]
    sources += [*(ROOT / "tools").glob("*.py"), ROOT / "edge_malaria" / "cli" / "train.py"]
    assert len(sources) > 20
    for path in sources:
        text = path.read_text(encoding="utf-8").lower()
        assert "westlake" not in text, path.name
        assert "site_adaptation" not in text, path.name


@pytest.mark.usefixtures("tensorflow")
def test_a_site_adapts_with_a_hundred_cells_of_each_label() -> None:
    from benchmarks.cells.site_adaptation import drawn_cells

    labels = (np.arange(1000) % 3 == 0).astype(np.int64)
    chosen = drawn_cells(labels, 4)
    assert (labels[chosen] == 1).sum() == (labels[chosen] == 0).sum() == 100
    assert (drawn_cells(labels, 4) == chosen).all()
    assert (drawn_cells(labels, 5) != chosen).any()


def _cells(labels: list[int], suspect: list[bool]) -> CellSet:
    rows = tuple(
        Row(f"{i}.png", label, "P1", "train", 0, doubt, None)
        for i, (label, doubt) in enumerate(zip(labels, suspect, strict=True))
    )
    return CellSet(np.zeros((len(rows), 4, 4, 3), np.uint8), np.array(labels), rows)


@pytest.mark.usefixtures("tensorflow")
def test_errors_are_told_apart_by_who_contradicts_them() -> None:
    from benchmarks.cells.contradictions import against, shares

    cells = _cells([1, 1, 0, 0, 1], [True, False, True, False, False])
    every = against(
        np.array([[0.01, 0.9, 0.99, 0.2, 0.02], [0.02, 0.9, 0.6, 0.2, 0.01]]), cells.labels
    )
    assert every.all(axis=0).tolist() == [True, False, False, False, True]
    wrong = np.array([True, False, True, True, True])
    found = shares(wrong, wrong, every.all(axis=0), cells)
    assert found["errors"] == 4
    assert found["accuracy"] == pytest.approx(0.2)
    parts = found["share_of_errors"]
    assert parts["contradicted by every fold's network"] == pytest.approx(0.5)
    assert parts["contradicted by every fold's network and on the list"] == pytest.approx(0.25)
    assert found["accuracy_if_those_errors_were_label_errors"] == pytest.approx(0.4)
    assert found["accuracy_if_every_error_on_the_list_were_one"] == pytest.approx(0.6)


@pytest.mark.usefixtures("tensorflow")
def test_the_front_holds_what_nothing_smaller_equals() -> None:
    from benchmarks.cells.pareto import on_front, points

    sizes = {"a": (10, 0.9), "b": (20, 0.9), "c": (30, 0.95), "d": (40, 0.94)}
    rows = {name: {"bytes": size, "val": {"accuracy": x}} for name, (size, x) in sizes.items()}
    assert on_front(rows, "bytes") == ["a", "c"]
    assert len(points()) >= 15
