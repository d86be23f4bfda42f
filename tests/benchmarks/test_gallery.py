"""The gallery: its pictures are there and small, and real cells stay where git does not look."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.documents.gallery import MOST_BYTES, MOST_BYTES_IN_ALL, PICTURES, real_cells_page
from benchmarks.documents.gallery_tables import (
    architectures,
    baselines,
    finder_changed,
    five_folds,
    segmentation,
    table,
)
from benchmarks.documents.markdown import evidence
from benchmarks.evidence_file import ROOT
from edge_malaria.data.dataset import Row

PAGE = ROOT / "docs" / "GALLERY.md"


def test_the_pages_pictures_are_there_and_small() -> None:
    linked = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert linked
    for name in linked:
        assert (ROOT / "docs" / name).is_file(), name
    sizes = [path.stat().st_size for path in PICTURES.iterdir()]
    assert max(sizes) <= MOST_BYTES and sum(sizes) <= MOST_BYTES_IN_ALL
    assert "none is real" in PAGE.read_text(encoding="utf-8")


def answers() -> SimpleNamespace:
    truth, positive = np.array([True, False, True]), np.array([False, False, True])
    rows = tuple(Row(f"{index}.png", int(label)) for index, label in enumerate(truth))
    return SimpleNamespace(
        truth=truth, positive=positive, scores=np.array([0.1, 0.2, 0.9]), rows=rows
    )


class Cells:
    def read(self, row: Row) -> np.ndarray:
        return np.full((30, 40, 3), 200, np.uint8)


def test_real_cells_are_never_written_where_git_sees_them(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="git would see"):
        real_cells_page(ROOT / "docs" / "gallery" / "errors.png", Cells(), answers())
    assert not (ROOT / "docs" / "gallery" / "errors.png").exists()
    real_cells_page(tmp_path / "errors.png", Cells(), answers())
    assert (tmp_path / "errors.png").is_file()


def test_tables_are_markdown() -> None:
    assert table(("a", "b"), [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |"


def test_tables_name_what_the_evidence_holds() -> None:
    assert "`lenet5`" in architectures()
    folds = five_folds()
    assert "`compact`, no teacher" in folds and "SVM on handcrafted features" in folds
    assert "`naive-bayes`" in baselines()


def test_finders_of_another_day_are_marked() -> None:
    assert segmentation() in PAGE.read_text(encoding="utf-8")
    today = evidence("cell_finding")["finders"]["learned"]["iml"]["recall"]  # type: ignore[index]
    assert not finder_changed({"iml": {"figure": "recall", "learned": today}})
    assert finder_changed({"iml": {"figure": "recall", "learned": today - 0.01}})
