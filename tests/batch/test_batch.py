"""Many slides on real dask workers: each once, whoever dies; a slide that fails is a row."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from edge_malaria.batch.manifest import Slide, read_manifest
from edge_malaria.batch.scheduler import open_client, run_batch, same_settings
from edge_malaria.batch.slide_task import (
    ROW,
    SLIDES,
    Row,
    Settings,
    failed,
    finished,
    local_copy,
    run_slide,
)
from edge_malaria.batch.tables import COLUMNS, summary, write_tables
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import ConfigError, DataError, EnvironmentProblem
from edge_malaria.files import write_image
from edge_malaria.runtime.screen.screening import bundle_sha256
from edge_malaria.runtime.screen.slide_errors import bundle_errors
from edge_malaria.runtime.slide.error_record import SlideScores
from edge_malaria.runtime.slide.site_fit import SiteFit
from edge_malaria.synthetic import draw_field
from tests.cli import run_process, validate

SMALL = "sim:parasitemia=0.05,fields={fields},seed={seed},width=480,height=360,cell_diameter_px=40"


def drawn(count: int, fields: int = 2) -> tuple[Slide, ...]:
    return tuple(Slide(f"S{k}", SMALL.format(fields=fields, seed=k)) for k in range(count))


def manifest_of(slides: tuple[Slide, ...], path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide", "source", "site", "reference"])
        writer.writerows([s.name, s.source, s.site, s.reference] for s in slides)
    return path


def counts(rows: dict[str, Row]) -> dict[str, tuple[object, ...]]:
    return {n: (r.verdict, r.cells_counted, r.cells_positive) for n, r in rows.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, shipped_bundle: Path) -> dict[str, Row]:
    """Six slides, undisturbed, in this process."""
    out = tmp_path_factory.mktemp("expected")
    settings = Settings(str(out), str(shipped_bundle))
    return {slide.name: run_slide(slide, settings) for slide in drawn(6)}


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


def test_a_slide_whose_source_changed_in_the_manifest_is_never_the_old_one(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    settings = Settings(str(tmp_path), str(shipped_bundle))
    first, other = drawn(2, fields=1)
    assert run_slide(first, settings).status == "done"
    known = replace(first, reference="positive")
    assert run_slide(known, settings).reference == "positive"
    row = run_slide(replace(other, name=first.name), settings)
    assert row.status == "failed" and "source" in row.reason
    assert run_slide(first, settings).status == "done"


def test_workers_give_what_one_process_gives_and_do_nothing_twice(
    tmp_path: Path, shipped_bundle: Path, expected: dict[str, Row]
) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    write_image(folder / "a.png", draw_field(3, 480, 360, cell_diameter_px=40)[0])
    slides = (
        *drawn(3),
        Slide("broken", str(tmp_path / "nowhere")),
        Slide("remote", folder.as_uri(), reference="negative"),
    )
    settings = Settings(str(tmp_path / "out"), str(shipped_bundle))
    said: list[str] = []
    with open_client(None, 2, said.append) as client:
        rows = run_batch(slides, settings, client)
    assert "dashboard: http" in said[0]
    assert counts({n: rows[n] for n in ("S0", "S1", "S2")}) == counts(
        {n: expected[n] for n in ("S0", "S1", "S2")}
    )
    assert rows["remote"].status == "done" and rows["remote"].cells_counted
    assert rows["broken"].status == "failed" and "no such source" in rows["broken"].reason
    files = {n: tmp_path / "out" / SLIDES / n / ROW for n in rows}
    before = {n: path.stat().st_mtime_ns for n, path in files.items()}
    with open_client(None, 1, said.append) as client:
        again = run_batch(slides, settings, client)
    assert counts(again) == counts(rows)
    changed = {n for n, path in files.items() if path.stat().st_mtime_ns != before[n]}
    assert changed == {"broken"}, "what failed is tried again, what is done is not"


@pytest.mark.slow
def test_a_killed_workers_slide_is_done_by_another(
    tmp_path: Path, shipped_bundle: Path, expected: dict[str, Row]
) -> None:
    settings = Settings(str(tmp_path), str(shipped_bundle))
    killed: list[int] = []
    with open_client(None, 2, lambda words: None) as client:

        def kill_one(row: Row) -> None:
            if not killed:
                pid = next(iter(client.run(os.getpid).values()))
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        rows = run_batch(drawn(6), settings, client, kill_one)
    assert killed
    assert counts(rows) == counts(expected)


@pytest.mark.slow
def test_a_killed_client_is_taken_up_where_it_was(
    tmp_path: Path, shipped_bundle: Path, expected: dict[str, Row]
) -> None:
    manifest = manifest_of(drawn(6), tmp_path / "slides.csv")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edge_malaria.cli.app", "batch", str(manifest)]
    command += ["-o", str(out), "--workers", "1", "--bundle", str(shipped_bundle), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(f"{SLIDES}/*/{ROW}")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    child.kill()
    child.wait()
    # Its worker notices the death within a moment and frees the slide it was at.
    time.sleep(2)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    validate(json.loads(ran.stdout), "batch")
    table = list(csv.DictReader((out / "slides.csv").read_text().splitlines()))
    assert [row["slide"] for row in table] == [f"S{k}" for k in range(6)]
    found = {row["slide"]: (row["verdict"], int(row["cells_counted"])) for row in table}
    assert found == {n: (r.verdict, r.cells_counted) for n, r in expected.items()}


def test_other_settings_are_refused_in_the_same_directory(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    same_settings(Settings(str(tmp_path), str(shipped_bundle)))
    same_settings(Settings(str(tmp_path), str(shipped_bundle)))
    with pytest.raises(ConfigError, match="another variant"):
        same_settings(Settings(str(tmp_path), str(shipped_bundle), variant="float32"))
    with pytest.raises(ConfigError, match="another bundle"):
        same_settings(Settings(str(tmp_path), str(shipped_bundle.parent / "micro")))
    own = tmp_path / "own.toml"
    own.write_text("[quality]\nmin_focus = 2.8\n")
    with pytest.raises(ConfigError, match="another config"):
        same_settings(Settings(str(tmp_path), str(shipped_bundle), config=str(own)))
    other = tmp_path / "other"
    same_settings(Settings(str(other), str(shipped_bundle), config=str(own)))
    own.write_text("# the same\n[quality]\nmin_focus = 2.80\n")
    same_settings(Settings(str(other), str(shipped_bundle), config=str(own)))
    own.write_text("[quality]\nmin_focus = 2.9\n")
    with pytest.raises(ConfigError, match="another config"):
        same_settings(Settings(str(other), str(shipped_bundle), config=str(own)))
    for damaged in ("{", "[1]", "\x00"):
        (tmp_path / "batch.json").write_text(damaged)
        with pytest.raises(DataError, match="damaged"):
            same_settings(Settings(str(tmp_path), str(shipped_bundle)))


def site_profile(path: Path, bundle_directory: Path) -> Path:
    """A site of six drawn slides' healthy cells."""
    bundle = read_bundle(bundle_directory)
    record = bundle_errors(bundle)
    rng = np.random.default_rng(3)
    slides = [SlideScores.count(f"n{k}", rng.beta(0.2, 4.0, 1500), record.rungs) for k in range(6)]
    made = SiteFit(record, slides).profile("Kisumu", bundle_sha256(bundle), {})
    path.write_text(json.dumps(made.as_json()))
    return path


def test_a_slide_is_judged_by_the_site_profile_that_its_row_names(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    site = site_profile(tmp_path / "kisumu.json", shipped_bundle)
    placed, profiled = (Slide(n, SMALL.format(fields=2, seed=4), s) for n, s in
                        (("placed", "Kisumu"), ("profiled", str(site))))  # fmt: skip
    read = read_manifest(manifest_of((placed, profiled), tmp_path / "slides.csv"))
    settings = Settings(str(tmp_path / "out"), str(shipped_bundle))
    rows = {slide.name: run_slide(slide, settings) for slide in read}
    reports = {
        n: json.loads((tmp_path / "out" / SLIDES / n / "report.json").read_text()) for n in rows
    }
    assert {n: r.site for n, r in rows.items()} == {"placed": "Kisumu", "profiled": str(site)}
    assert reports["placed"]["site"] is None and reports["profiled"]["site"] == "Kisumu"
    threshold = json.loads(site.read_text())["screening"]
    assert reports["profiled"]["details"]["threshold"] == threshold
    assert reports["placed"]["details"]["threshold"] != threshold
    assert rows["profiled"].cells_positive == reports["profiled"]["cells_positive"]
    assert rows["profiled"].basis == reports["profiled"]["basis"] == "algorithm"
    assert rows["profiled"].cells_counted == rows["placed"].cells_counted
    # A profile that was written since, or another site, is never passed over in silence.
    assert finished(tmp_path / "out", profiled) == rows["profiled"]
    site.write_text(site.read_text() + "\n")
    assert finished(tmp_path / "out", profiled) is None
    assert run_slide(profiled, settings).cells_positive == rows["profiled"].cells_positive
    moved = run_slide(Slide("placed", placed.source, str(site)), settings)
    assert moved.status == "failed" and "site" in moved.reason
    site.write_text("{}")
    assert "no site profile" in run_slide(Slide("x", placed.source, str(site)), settings).reason
    ran = run_process("batch", tmp_path / "slides.csv", "-o", tmp_path / "again")
    assert ran.code == 5 and "no site profile" in ran.error
    assert not (tmp_path / "again").exists()


def test_files_of_one_name_in_two_folders_of_a_store_are_all_fetched() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("/day1/a.png", "/day2/a.png", "/day2/b.txt"):
        memory.pipe_file(f"/slides{name}", name.encode())
    try:
        with local_copy(Slide("S1", "memory://slides/*/*.png")) as folder:
            found = sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*.png"))
        assert found == ["day1/a.png", "day2/a.png"]
        memory.pipe_file("/slides/day2/../../../evil.png", b"x")
        with (
            pytest.raises(DataError, match="outside its folder"),
            local_copy(Slide("S1", "memory://slides/day2")),
        ):
            pass
    finally:
        memory.rm("/slides", recursive=True)


def test_tables_and_rates_by_slide(tmp_path: Path) -> None:
    def row(name: str, verdict: str, reference: str) -> Row:
        return Row(
            name, verdict, "reader", 100, 2, 0.02, 0.01, 0.04, 9e4, "done", "", "", reference
        )

    rows = [
        row("a", "parasites-detected", "positive"),
        row("b", "parasites-detected", "positive"),
        row("c", "indeterminate", "positive"),
        row("d", "not-detected", "negative"),
        row("e", "not-detected", ""),
        failed(Slide("f", "x", reference="negative"), "=cmd()\nbroken"),
    ]
    found = write_tables(tmp_path, rows)
    assert found == summary(rows) == json.loads((tmp_path / "summary.json").read_text())
    assert found["sensitivity"]["right"] == 2 and found["sensitivity"]["slides"] == 3
    assert found["sensitivity"]["undecided"] == 1
    assert found["specificity"]["rate"] == 0.5, "a failed slide is not one without parasites"
    low, high = found["specificity"]["ci95"]
    assert low < 0.5 < high
    table = list(csv.reader((tmp_path / "slides.csv").read_text().splitlines()))
    assert tuple(table[0]) == COLUMNS and len(table) == 7
    assert table[-1][-1] == "'=cmd() broken"
    from pyarrow import parquet

    stored = parquet.read_table(tmp_path / "slides.parquet").to_pylist()
    assert stored[0]["parasitemia"] == 0.02 and stored[-1]["verdict"] == ""
    assert stored[-1]["cells_counted"] is None and stored[-1]["reference"] == "negative"


def test_nothing_at_the_schedulers_address_is_said(tmp_path: Path) -> None:
    manifest = manifest_of(drawn(1), tmp_path / "slides.csv")
    given = (manifest, "-o", tmp_path / "o", "--scheduler", "x", "--workers", "1")
    both = run_process("batch", *given)
    assert both.code == 2
    with (
        pytest.raises(EnvironmentProblem, match="no scheduler answers"),
        open_client("tcp://127.0.0.1:9", None, lambda words: None),
    ):
        pass
