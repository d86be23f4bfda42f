"""``screen``: what is left of a slide when its source, its directory or its journal misbehaves."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import HardwareError, OutputExists, UsageError
from edge_malaria.files import encode_image, from_csv_text, write_image
from edge_malaria.records import Field, Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import ScreenCall, Screened, screen
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.slide.journal import NAME, Journal
from edge_malaria.runtime.sources.base import Source, SourceSettings, Unreadable
from edge_malaria.runtime.sources.following import FollowedFolder
from edge_malaria.runtime.sources.opening import open_source

SIM = "sim:parasitemia=0.1,fields=3,seed=5,width=640,height=480,cell_diameter_px=55"


@pytest.fixture(scope="module")
def bundle(shipped_bundle: Path) -> Bundle:
    """The shipped bundle."""
    return read_bundle(shipped_bundle)


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    """Its classifier at the screening point."""
    return Classifier(bundle, operating_point="screening")


@pytest.fixture
def run(bundle: Bundle, classifier: Classifier) -> Any:
    """Screens a source into a directory; keywords are ``ScreenCall``'s or ``ScreenOptions``'."""

    def screened(directory: Path, source: Source | None = None, **how: Any) -> Screened:
        options = ScreenOptions(max_fields=how.pop("max_fields", None))
        used = how.pop("classifier", classifier)
        spec = how.pop("spec", (SIM,))
        if source is None and not how.get("report_only"):
            source = open_source([SIM])
        call = ScreenCall(directory, spec, 5e6, **how)
        return screen(source, bundle, used, call, load_config(), options)

    return screened


class Ends:
    """A source that ends in an error or Ctrl-C after some fields."""

    live, total = True, None

    def __init__(self, after: int, error: BaseException) -> None:
        self.after, self.error, self.warnings = after, error, []
        self.facts: dict[str, Any] = {}

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``."""
        for number, item in enumerate(open_source([SIM]).fields(skip)):
            if number == self.after:
                raise self.error
            yield item


GONE = HardwareError("camera:0 went away.")


def timeless(directory: Path) -> dict[str, Any]:
    """report.json without what differs between two runs, and without its warnings."""
    report = json.loads((directory / "report.json").read_text())
    return {k: v for k, v in report.items() if k not in ("created", "elapsed_s", "warnings")}


@pytest.mark.slow
def test_a_camera_that_goes_away_leaves_a_report(run: Any, tmp_path: Path) -> None:
    done = run(tmp_path / "r", Ends(2, GONE))
    assert done.error is GONE
    # A batch or a site's fit takes whole slides only.
    with pytest.raises(HardwareError, match="went away"):
        done.complete()
    assert done.report.fields_seen == 2
    assert done.report.cells_counted > 0
    assert "camera:0 went away." in done.report.warnings[0]
    assert "camera:0 went away." in (tmp_path / "r" / "report.html").read_text()


def test_a_camera_that_never_delivers_leaves_nothing(run: Any, tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="went away"):
        run(tmp_path / "r", Ends(0, GONE))
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_force_deletes_nothing_before_the_source_has_given_a_field(
    run: Any, tmp_path: Path
) -> None:
    run(tmp_path / "r", max_fields=1)
    before = (tmp_path / "r" / NAME).read_bytes()
    with pytest.raises(HardwareError):
        run(tmp_path / "r", Ends(0, GONE), force=True)
    assert (tmp_path / "r" / NAME).read_bytes() == before
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "r", Ends(0, KeyboardInterrupt()), force=True)
    assert (tmp_path / "r" / NAME).read_bytes() == before
    assert run(tmp_path / "r", force=True, max_fields=2).report.fields_seen == 2


@pytest.mark.slow
def test_a_resumed_camera_that_does_not_open_leaves_the_journal_alone(
    run: Any, tmp_path: Path
) -> None:
    run(tmp_path / "r", Ends(2, GONE))
    path = tmp_path / "r" / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:1], b"\0" * len(lines[1]) + b"\n", *lines[2:], b"torn"])
    path.write_bytes(damaged)
    done = run(tmp_path / "r", Ends(0, GONE), resume=True)
    assert done.error is GONE
    assert path.read_bytes() == damaged
    assert done.report.fields_seen == 1
    assert any("line 2 of journal.jsonl" in text for text in done.report.warnings)


@pytest.mark.slow
def test_a_report_is_written_from_the_journal_alone(run: Any, tmp_path: Path) -> None:
    run(tmp_path / "r", Ends(2, KeyboardInterrupt()))
    before = timeless(tmp_path / "r")
    for name in ("report.json", "report.html", "report.md", "cells.csv"):
        (tmp_path / "r" / name).unlink()
    done = run(tmp_path / "r", resume=True, report_only=True, spec=())
    assert done.report.fields_seen == 2
    assert timeless(tmp_path / "r") == before
    with pytest.raises(UsageError, match="nothing to resume"):
        run(tmp_path / "none", resume=True, report_only=True, spec=())


def test_a_directory_in_use_is_refused_even_with_force(run: Any, tmp_path: Path) -> None:
    run(tmp_path / "r", max_fields=1)
    before = (tmp_path / "r" / NAME).read_bytes()
    held = Journal(tmp_path / "r", resume=True)
    try:
        for how in ({"force": True}, {"resume": True}):
            with pytest.raises(OutputExists, match="in use"):
                run(tmp_path / "r", **how)
    finally:
        held.close()
    assert (tmp_path / "r" / NAME).read_bytes() == before


def test_a_line_written_twice_by_two_runs_counts_once(run: Any, tmp_path: Path) -> None:
    whole = run(tmp_path / "r").report
    path = tmp_path / "r" / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, *lines[1:]]))
    again = run(tmp_path / "r", resume=True).report
    assert (again.cells_counted, again.fields_seen) == (whole.cells_counted, whole.fields_seen)
    assert any("recorded before" in text for text in again.warnings)


def test_a_watched_folder_ends_with_the_last_field_asked_for(run: Any, tmp_path: Path) -> None:
    for item in open_source([SIM]).fields():
        assert isinstance(item, Field)
        write_image(tmp_path / "in" / f"{item.index}.png", item.image)
    source = FollowedFolder(tmp_path / "in", SourceSettings(poll_s=0.05))
    done = run(tmp_path / "r", source, max_fields=3)
    assert done.report.details["fields_accepted"] == 3
    assert not done.interrupted


@pytest.mark.slow
def test_balanced_screens_at_its_own_measured_rate(
    run: Any, tmp_path: Path, bundle: Bundle
) -> None:
    balanced = Classifier(bundle, operating_point="balanced")
    done = run(tmp_path / "b", classifier=balanced)
    numbers = done.report.details["statistics"]
    assert done.report.details["threshold"] == balanced.threshold
    screening = run(tmp_path / "s")
    strict = screening.report.details["statistics"]
    assert 0 < 3 * strict["false_positive_mean"] < numbers["false_positive_mean"]


@pytest.mark.parametrize(("variant", "finder"), [("float32", "float32"), ("dynamic", "int8")])
def test_the_variant_reaches_the_finder(
    run: Any, tmp_path: Path, bundle: Bundle, variant: str, finder: str
) -> None:
    used = Classifier(bundle, variant, "litert", "screening", threads=2)
    done = run(tmp_path / "r", classifier=used, threads=2, max_fields=1)
    journal = Journal(tmp_path / "r", resume=True)
    assert journal.header.settings["finder_variant"] == finder
    journal.close()
    said = any("cell finder has no" in text for text in done.report.warnings)
    assert said == (variant != finder)


def test_unreadable_files_are_named_in_the_report(run: Any, tmp_path: Path) -> None:
    item = next(iter(open_source([SIM]).fields()))
    assert isinstance(item, Field)
    write_image(tmp_path / "in" / "good.png", item.image)
    (tmp_path / "in" / "spoilt.jpg").write_text("no picture")
    done = run(tmp_path / "r", open_source([str(tmp_path / "in")]))
    assert any("spoilt.jpg" in text for text in done.report.warnings)
    assert "spoilt.jpg" in (tmp_path / "r" / "report.md").read_text()
    with (tmp_path / "r" / "cells.csv").open(newline="") as handle:
        assert {row["field"] for row in csv.DictReader(handle)} == {"good.png"}


def test_names_like_formulas_and_of_other_code_pages_end_no_count(run: Any, tmp_path: Path) -> None:
    item = next(iter(open_source([SIM]).fields()))
    assert isinstance(item, Field)
    (tmp_path / "in").mkdir()
    for name in (b"=HYPERLINK(1).png", b"+1.png", b"caf\xe9.png"):
        with open(os.fsencode(tmp_path / "in") + b"/" + name, "wb") as out:
            out.write(encode_image(item.image))
    done = run(tmp_path / "r", open_source([str(tmp_path / "in")]))
    assert done.report.fields_seen == 3
    with (tmp_path / "r" / "cells.csv").open(newline="", encoding="utf-8") as handle:
        names = {row["field"] for row in csv.DictReader(handle)}
    # The same field three times: its cells count once, under the first name.
    assert names == {"'+1.png"}
    assert from_csv_text("'+1.png") == "+1.png"
    journal = Journal(tmp_path / "r", resume=True)
    assert [line.field for line in journal.fields()] == [
        "+1.png", "=HYPERLINK(1).png", "caf\\xe9.png",
    ]  # fmt: skip
    journal.close()


class Shots:
    """A camera's frames, given one by one."""

    live, total = True, None

    def __init__(self, images: list[Image]) -> None:
        self.images, self.warnings = images, []
        self.facts: dict[str, Any] = {"camera": {"exposure": 157.0}}

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``."""
        for number, image in enumerate(self.images):
            yield Field(image, f"camera:0#{number}", number, stream=True)


@pytest.mark.slow
def test_black_frames_by_the_hundred_have_one_line_and_are_told(run: Any, tmp_path: Path) -> None:
    fields = [i.image for i in open_source([SIM]).fields() if isinstance(i, Field)]
    black = [np.full((240, 320, 3), n % 2, np.uint8) for n in range(250)]
    done = run(tmp_path / "r", Shots([fields[0], *black, fields[0], fields[1], *black[:9]]))
    report = done.report
    assert report.details["fields_accepted"] == 2
    assert report.fields_rejected == {"too-dark": 2}
    assert any("257 more frames were refused as too-dark" in text for text in report.warnings)
    journal = Journal(tmp_path / "r", resume=True)
    assert sum(1 for _ in journal.fields()) == 4
    assert journal.facts()["camera"] == {"exposure": 157.0}
    journal.close()


def test_a_clock_that_is_set_back_gives_no_negative_time(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the wall jumps back an hour at each look at it."""
    jumps = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    run(tmp_path / "r", Ends(2, KeyboardInterrupt()))
    done = run(tmp_path / "r", resume=True)
    journal = Journal(tmp_path / "r", resume=True)
    times = [line.elapsed_s for line in journal.fields()]
    journal.close()
    assert len(times) == 3
    assert 0 < times[0] < times[1] < times[2] <= done.report.elapsed_s < 600


def test_cells_of_faint_colour_leave_the_slide_indeterminate(tmp_path: Path, run: Any) -> None:
    slate = "sim:parasitemia=0,fields=2,seed=41,width=800,height=600,cell_diameter_px=55"
    report = run(tmp_path / "report", open_source([slate])).report
    assert report.fields_rejected == {}
    statistics = report.details["statistics"]
    assert (report.verdict, statistics["cause"]) == ("indeterminate", "unfamiliar")
    assert report.parasitemia is None


def test_a_second_folder_of_the_same_names_makes_no_field_count_twice(
    run: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "slide"
    first, second = (item.image for item in list(open_source([SIM]).fields())[:2])
    write_image(folder / "1" / "a.png", first)
    before = run(tmp_path / "r", open_source([str(folder)])).report
    write_image(folder / "2" / "a.png", second)
    done = run(tmp_path / "r", open_source([str(folder)]), resume=True)
    assert isinstance(done.error, UsageError)
    assert done.report.cells_counted == before.cells_counted > 0
    (folder / "2" / "a.png").rename(folder / "2" / "b.png")
    done = run(tmp_path / "r", open_source([str(folder)]), resume=True)
    assert done.error is None
    assert done.report.fields_seen == 2
