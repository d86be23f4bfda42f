"""The manifest of a batch: read whole, or refused by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_malaria.batch.manifest import Slide, read_manifest
from edge_malaria.errors import DataError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide\nS1\n", "expected the columns"),
        ("slide,source,colour\nS1,a,b\n", "unknown column 'colour'"),
        ("slide,source\n", "names no slide"),
        ("slide,source\nS1,\n", ":2: expected a slide and a source"),
        ("slide,source\nS1,a\ns1,b\n", "stands in row 2 too"),
        ("slide,source\n../S1,a\n", "cannot name a directory"),
        ("slide,source\nCON,a\n", "cannot name a directory"),
        ("slide,source,reference\nS1,a,perhaps\n", "expected the reference positive, negative"),
        ("slide,source\nS1,a,b\n", "line 2: 3 cells, but 2 columns"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_row(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "slides.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_manifest(path)
    with pytest.raises(DataError, match="cannot read"):
        read_manifest(tmp_path / "none.csv")


def test_a_manifest_is_read_with_its_folder_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    path.write_text("\ufeffSlide,Source,Reference\nS1,fields,Positive\nS2,s3://b/x,\n", "utf-8")
    first, second = read_manifest(path)
    assert first == Slide("S1", str(tmp_path / "fields"), "", "positive")
    assert second.remote and not first.remote


def test_a_manifest_of_excel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    path.write_bytes("Slide;Source;Reference\r\nS1;C:/a, b;negative\r\n".encode("utf-16"))
    [slide] = read_manifest(path)
    assert (slide.source.endswith("a, b"), slide.reference) == (True, "negative")
