"""What a report says: its table, its page, refused fields and limits."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.errors import ImageError
from edge_malaria.files import read_image, write_image
from edge_malaria.records import RESEARCH_USE
from edge_malaria.runtime.report.numbers import two_figures
from edge_malaria.runtime.report.write import CELL_COLUMNS, report_again
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.sources.opening import open_source
from edge_malaria.runtime.words.language import LANGUAGES, words_for
from tests.runtime.report.drawn_report import LIKELY_FROM, SIM, pipeline, without_time, written


def test_cells_csv_keeps_its_contract(whole: tuple[Path, dict[str, Any]]) -> None:
    directory, document = whole
    with (directory / "cells.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == CELL_COLUMNS
    counted = [r for r in rows if r["counted"] == "true"]
    assert len(counted) == document["cells_counted"] > 40
    assert sum(float(r["p_parasitized"]) >= 0.5 for r in counted) == document["cells_positive"] > 0
    assert {r["kind"] for r in rows} <= {"red-cell", "white-cell", "platelet", "debris"}
    assert all((r["reason"] == "") == (r["counted"] == "true") for r in rows)
    for row in rows:
        x0, y0, x1, y1 = (int(row[k]) for k in ("x0", "y0", "x1", "y1"))
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 480


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "srcset", "data")]
        self.links += [v or "" for k, v in attrs if k == "href"]
        assert tag not in ("script", "link", "iframe", "object")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


def test_the_page_is_self_contained_and_says_everything(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    directory, document = whole
    page = (directory / "report.html").read_text()
    links = _Links()
    links.feed(page)
    assert links.open == []
    assert links.loads
    assert all(load.startswith("data:image/") for load in links.loads)
    assert "://" not in page
    assert "url(" not in page
    assert RESEARCH_USE in page
    assert "sim &lt;b&gt;&amp; co&lt;/b&gt;" in page
    assert "mind &lt;this&gt; &amp; that" in page
    assert f"{document['cells_counted']:,}" in page
    assert "negative" not in page.lower()
    assert RESEARCH_USE in (directory / "report.md").read_text()


def test_all_flagged_cells_are_shown_with_their_field_one_tap_away(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    directory, document = whole
    page = (directory / "report.html").read_text()
    links = _Links()
    links.feed(page)
    with (directory / "cells.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["counted"] == "true"]
    likely = [row for row in rows if float(row["p_parasitized"]) >= LIKELY_FROM]
    assert len(likely) == document["cells_flagged"] == document["review"]["flagged"] > 3
    assert len(links.links) == len(likely)
    for link in links.links:
        file, _, anchor = link.partition("#")
        view = (directory / file).read_text()
        assert f'id="{anchor}"' in view
        picture = re.search(r'<img alt="The field" src="([^"]+)"', view)
        assert picture is not None
        field = read_image((directory / file).with_name(picture[1]))
        assert field.shape == (480, 640, 3)
    # The best cells come first.
    assert page.index("Cells to look at") < page.index("Red cells counted")
    assert [r["field"] for r in likely if f"{r['field']} / {r['index']}" not in page] == []


def test_refused_fields_have_reasons_and_no_cells(tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    write_image(folder / "black.png", np.zeros((300, 400, 3), np.uint8))
    write_image(folder / "empty.png", np.full((200, 500, 3), 215, np.uint8))
    (folder / "text.jpg").write_text("no picture")
    made = pipeline(tmp_path / "report")
    made.run(open_source([str(folder)]))
    document = written(tmp_path / "report", made)
    assert document["verdict"] == "indeterminate"
    assert document["fields_rejected"] == {"no-cells": 1, "too-dark": 1, "unreadable": 1}
    assert document["parasitemia"] is None
    assert document["ci95"] is None
    page = (tmp_path / "report" / "report.html").read_text()
    # Nothing was seen: neither "no cell looks parasitized" nor a number of further cells.
    assert page.count("No red cell") >= 3
    assert not re.search(
        "looks enough like|could have shown|more cells of this slide|was flagged", page
    )


def test_only_unreadable_files_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        pipeline(tmp_path / "report").run(open_source([str(folder)]))


def test_limits_of_fields_and_cells_stop_the_slide(tmp_path: Path) -> None:
    made = pipeline(tmp_path / "f", options=ScreenOptions(max_fields=1))
    assert made.run(open_source([SIM])).accepted == 1
    made = pipeline(tmp_path / "c", options=ScreenOptions(max_cells=1))
    assert made.run(open_source([SIM])).accepted == 1


def test_counts_are_written_with_the_figures_that_mean_something() -> None:
    assert [two_figures(v) for v in (0.0, -3.0, 0.4, 512.0, 48_765.0)] == [0, 0, 0, 510, 49_000]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_speaks_each_language(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, language: str
) -> None:
    directory = tmp_path / "slide"
    shutil.copytree(whole[0], directory)
    journal = Journal(directory, resume=True)
    report_again(directory, journal, language)
    journal.close()
    words = words_for(language)
    page = (directory / "report.html").read_text()
    views = [path.read_text() for path in sorted(directory.glob("*/*.html"))]
    assert views and all(f'<html lang="{language}">' in text for text in (page, *views))
    for message in ("Cells to look at", "What to do now", "Fields", "Slide report", "Rule"):
        assert escape(words.say(message)) in page
        assert language == "en" or message not in page
    assert words.say("Back to the report") in views[0]
    assert escape(words.say(RESEARCH_USE)) in page
    assert words.say("What this rests on") not in (directory / "report.md").read_text()
    assert words.say("Slide report") in (directory / "report.md").read_text()
    # The record is the same in every language.
    document = json.loads((directory / "report.json").read_text())
    assert without_time(document) == without_time(whole[1])
    assert (directory / "cells.csv").read_bytes() == (whole[0] / "cells.csv").read_bytes()


def test_without_the_gate_every_field_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    write_image(folder / "black.png", np.zeros((300, 400, 3), np.uint8))
    write_image(folder / "white.png", np.full((300, 400, 3), 255, np.uint8))
    made = pipeline(tmp_path / "report", options=ScreenOptions(quality_gate=False))
    made.run(open_source([str(folder)]))
    assert (made.totals.accepted, made.totals.cells) == (2, 0)
    assert written(tmp_path / "report", made)["verdict"] == "indeterminate"


def test_one_file_given_twice_is_counted_once(tmp_path: Path) -> None:
    image = next(iter(open_source([SIM]).fields())).image  # type: ignore[union-attr]
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "fields" / name, image)
    made = pipeline(tmp_path / "report")
    made.run(open_source([str(tmp_path / "fields")]))
    assert (made.totals.accepted, dict(made.totals.rejected)) == (1, {"seen-before": 1})
