"""Journal, pipeline and report, with the real finder and a classifier that knows the truth."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.errors import ImageError
from edge_malaria.files import read_image, write_image
from edge_malaria.records import RESEARCH_USE, Image, Prediction
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.report.basis import ReportBasis, ReportFacts, keep_basis
from edge_malaria.runtime.report.numbers import two_figures
from edge_malaria.runtime.report.write import CELL_COLUMNS, report_again, report_of
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions, SlidePipeline
from edge_malaria.runtime.slide.error_record import ErrorRecord
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.statistics import VerdictRules, fit_false_positives
from edge_malaria.runtime.sources.base import Source
from edge_malaria.runtime.sources.opening import open_source
from edge_malaria.runtime.words.language import LANGUAGES, words_for
from tests.cli import validate

LIKELY_FROM = 0.4
SIM = "sim:parasitemia=0.2,fields=4,seed=5,width=640,height=480,cell_diameter_px=55"


class DarkSpots:
    """Calls a cell parasitized by how dark its darkest twentieth is; needs no network."""

    target = 32

    def predict_inputs(self, batch: Image) -> list[Prediction]:
        """uint8 [N, 32, 32, 3] -> predictions."""
        found = []
        for cell in batch:
            grey = cell[cell.sum(2) > 0][:, 0]
            depth = float(np.median(grey) - np.percentile(grey, 5)) if grey.size else 0.0
            p = float(1 / (1 + np.exp(-(depth - 55) / 6)))
            found.append(Prediction(p, p >= 0.5, "parasitized" if p >= 0.5 else "uninfected", p))
        return found


def pipeline(
    directory: Path, *, resume: bool = False, options: ScreenOptions | None = None
) -> SlidePipeline:
    """A pipeline into ``directory``."""
    journal = Journal(directory, HeaderLine((SIM,), ""), resume=resume)
    made = SlidePipeline(
        directory,
        journal,
        ClassicalFinder(),
        DarkSpots(),
        ScreenConfig(),
        options or ScreenOptions(likely_from=LIKELY_FROM),
    )
    if resume:
        made.resume()
    return made


def basis() -> ReportBasis:
    """What a report of the drawn slide rests on: a site of which much is known."""
    fit = fit_false_positives([(0, 300)] * 40, [(90, 100)] * 20)
    record = ErrorRecord.of_fit(replace(fit, quantity=fit, quantity_threshold=0.4), 0.5)
    facts = ReportFacts(
        "sim <b>& co</b>", "m", "1", "int8", "litert", "classical", "0" * 64, 0.5, LIKELY_FROM,
        ("mind <this> & that",),
    )  # fmt: skip
    return ReportBasis(facts, record.errors(0.5, 0.4), VerdictRules(), 5e6, {})


def written(directory: Path, made: SlidePipeline) -> dict[str, Any]:
    """Writes the report and returns report.json."""
    keep_basis(made.journal, basis())
    report, _ = report_of(directory, made.journal, made.totals, basis())
    validate({"schema_version": 1, **report.as_json()}, "screen")
    made.journal.close()
    document: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return document


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs between two runs of one slide."""
    return {k: v for k, v in document.items() if k not in ("created", "elapsed_s")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A report of the drawn slide, not interrupted."""
    directory = tmp_path_factory.mktemp("reports") / "whole"
    made = pipeline(directory)
    made.run(open_source([SIM]))
    return directory, written(directory, made)


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


def test_a_report_written_anew_says_the_same(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(whole[0], again)
    for name in ("report.json", "report.html", "cells.csv", "report.md"):
        (again / name).unlink()
    journal = Journal(again, resume=True)
    report_again(again, journal)
    journal.close()
    document = json.loads((again / "report.json").read_text())
    assert without_time(document) == without_time(whole[1])
    text = (again / "report.md").read_text().replace("review again", "review whole")
    assert text == (whole[0] / "report.md").read_text()
    assert "edge-malaria review whole" in text


class _Stops:
    """A source that breaks off after some fields, as Ctrl-C does."""

    live, total = False, None

    def __init__(self, source: Source, after: int) -> None:
        self.source, self.after, self.warnings = source, after, []
        self.facts: dict[str, Any] = {}

    def fields(self, skip: Any = ()) -> Iterator[Any]:
        for number, item in enumerate(self.source.fields(skip)):
            if number == self.after:
                raise KeyboardInterrupt
            yield item


@pytest.mark.parametrize("torn", [b"", b'{"kind":"field","field":"sim#2","ind', b"\x00\x00\x00"])
def test_an_interrupted_slide_ends_like_a_whole_one(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], torn: bytes
) -> None:
    first = pipeline(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.run(_Stops(open_source([SIM]), 2))
    first.journal.close()
    with (tmp_path / "journal.jsonl").open("ab") as handle:
        handle.write(torn)
    second = pipeline(tmp_path, resume=True)
    assert second.totals.seen == 2
    second.run(open_source([SIM]))
    document = written(tmp_path, second)
    assert without_time(document) == without_time(whole[1])
    assert (tmp_path / "cells.csv").read_bytes() == (whole[0] / "cells.csv").read_bytes()


@pytest.mark.slow
def test_resuming_with_motion_counts_no_place_twice(tmp_path: Path) -> None:
    spec = "sim:fields=3,seed=6,motion=1,width=640,height=480,cell_diameter_px=50"
    one, two = tmp_path / "one", tmp_path / "two"
    made = pipeline(one)
    made.run(open_source([spec]))
    stopped = pipeline(two)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(_Stops(open_source([spec]), 4))
    stopped.journal.close()
    resumed = pipeline(two, resume=True)
    resumed.run(open_source([spec]))
    assert resumed.totals.count == made.totals.count


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


def test_ctrl_c_between_the_journal_and_the_sums_loses_no_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline(tmp_path / "cut")
    append, lines = made.journal.append, []

    def interrupted(line: FieldLine) -> None:
        append(line)
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(made.journal, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.run(open_source([SIM]))
    assert made.totals.seen == 1
    made.recount()
    assert made.totals.seen == 2
    assert made.totals.cells == sum(line.counted for line in lines) > 0
    made.journal.close()
