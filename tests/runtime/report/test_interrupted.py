"""A slide that was interrupted ends like a whole one, and a report written anew says the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_malaria.runtime.report.write import report_again
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.sources.base import Source
from edge_malaria.runtime.sources.opening import open_source
from tests.runtime.report.drawn_report import SIM, pipeline, without_time, written


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
