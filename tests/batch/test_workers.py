"""Many slides on real dask workers: each once, whoever dies."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria.batch.cluster import open_client
from edge_malaria.batch.manifest import Slide
from edge_malaria.batch.scheduler import run_batch
from edge_malaria.batch.slide_task import (
    ROW,
    SLIDES,
    Row,
    Settings,
    run_slide,
)
from edge_malaria.errors import EnvironmentProblem
from edge_malaria.files import write_image
from edge_malaria.synthetic import draw_field
from tests.batch.slides import drawn, manifest_of
from tests.cli import run_process, validate


def counts(rows: dict[str, Row]) -> dict[str, tuple[object, ...]]:
    return {n: (r.verdict, r.cells_counted, r.cells_positive) for n, r in rows.items()}


def undisturbed(count: int, out: Path, bundle: Path) -> dict[str, Row]:
    """Slides that were run one after the other in this process."""
    settings = Settings(str(out), str(bundle))
    return {slide.name: run_slide(slide, settings) for slide in drawn(count)}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, shipped_bundle: Path) -> dict[str, Row]:
    """Six slides, undisturbed."""
    return undisturbed(6, tmp_path_factory.mktemp("expected"), shipped_bundle)


def test_workers_give_what_one_process_gives_and_do_nothing_twice(
    tmp_path: Path, shipped_bundle: Path
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
        files = {n: tmp_path / "out" / SLIDES / n / ROW for n in rows}
        before = {n: path.stat().st_mtime_ns for n, path in files.items()}
        again = run_batch(slides, settings, client)
    assert "dashboard: http" in said[0]
    expected = undisturbed(3, tmp_path / "expected", shipped_bundle)
    assert counts({n: rows[n] for n in ("S0", "S1", "S2")}) == counts(expected)
    assert rows["remote"].status == "done" and rows["remote"].cells_counted
    assert rows["broken"].status == "failed" and "no such source" in rows["broken"].reason
    assert counts(again) == counts(rows)
    changed = {n for n, path in files.items() if path.stat().st_mtime_ns != before[n]}
    assert changed == {"broken"}, "what failed is tried again, what is done is not"


@pytest.mark.slow
@pytest.mark.long
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
@pytest.mark.long
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


@pytest.mark.long
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
