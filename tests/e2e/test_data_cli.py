"""``edge-malaria data ...`` as a user runs it."""

from __future__ import annotations

import csv
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.data.dataset import assert_patient_disjoint, open_dataset
from edge_malaria.files import read_image
from tests.cli import run_cli, run_process


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "cells"
    ran = run_cli(
        "data", "synth", "cells", "-o", out, "--cells", "40", "--patients", "8", "--size", "40"
    )
    assert ran.code == 0, ran.err
    assert ran.out.strip() == str(out)
    return out


def test_drawn_cells_are_a_data_set_with_splits(cells: Path) -> None:
    dataset = open_dataset(cells)
    assert sum(row.label for row in dataset.rows) == 20
    assert len(dataset.rows) == 40
    assert dataset.has_patients
    assert dataset.has_splits
    assert not dataset.warnings
    assert_patient_disjoint(dataset.rows)
    assert_patient_disjoint(dataset.rows, "fold")


def test_the_same_seed_writes_the_same_files(cells: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    arguments = ("-o", again, "--cells", "40", "--patients", "8", "--size", "40")
    assert run_process("data", "synth", "cells", *arguments).code == 0
    names = sorted(p.relative_to(cells) for p in cells.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((cells / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_output_that_exists_is_refused(cells: Path) -> None:
    before = (cells / "patients.csv").read_bytes()
    ran = run_cli("data", "synth", "cells", "-o", cells, "--cells", "10", "--patients", "5")
    assert ran.code == 2
    assert "--force" in ran.error
    assert (cells / "patients.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "more", "images"),
    [("field", (), 2), ("slide", (), 2), ("slide", ("--motion", "1"), 5)],
)
def test_drawn_fields_come_with_boxes(
    tmp_path: Path, command: str, more: tuple[str, ...], images: int
) -> None:
    out = tmp_path / "out"
    size = ("--width", "320", "--height", "240", "--cell-diameter", "40", "--seed", "3")
    ran = run_cli("data", "synth", command, "-o", out, "--fields", "2", *size, *more)
    assert ran.code == 0, ran.err
    names = sorted(path.name for path in (out / "images").iterdir())
    assert len(names) == images
    lines = list(csv.DictReader(io.StringIO((out / "annotations.csv").read_text())))
    assert {line["image"] for line in lines} == set(names)
    for line in lines:
        x, y, w, h = (int(line[key]) for key in "xywh")
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 320 and y + h <= 240
    assert {line["kind"] for line in lines} >= {"red-cell"}
    assert read_image(out / "images" / names[0]).shape == (240, 320, 3)


def test_a_colour_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ran = run_cli("data", "synth", "field", "-o", tmp_path / "out", "--stain", "green")
    assert ran.code == 2
    assert "'orange'" in ran.error
    assert not list(tmp_path.iterdir())


def test_split_writes_a_table_that_is_used(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "patients.csv"
    ran = run_cli("data", "split", cells, "-o", out, "--seed", "5")
    assert ran.code == 0, ran.err
    assert "train" in ran.out
    rows = open_dataset(cells, out).rows
    assert {row.split for row in rows} == {"train", "val", "test"}
    assert_patient_disjoint(rows)
    again = run_cli("data", "split", cells, "-o", out)
    assert again.code == 2
    assert "--force" in again.error


def test_split_by_default_lies_where_it_is_found(cells: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    for folder in ("Parasitized", "Uninfected"):
        (copied / folder).mkdir(parents=True)
        for number, file in enumerate(sorted((cells / "cell_images" / folder).iterdir())):
            name = f"C{number % 7}P{number % 7}thinF_IMG_1_cell_{number}.png"
            (copied / folder / name).write_bytes(file.read_bytes())
    assert run_cli("data", "split", copied).code == 0
    assert open_dataset(copied).has_splits


def test_split_without_patients_is_refused(cells: Path, tmp_path: Path) -> None:
    for folder in ("Parasitized", "Uninfected"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        source = next((cells / "cell_images" / folder).iterdir())
        (tmp_path / "set" / folder / "scan.png").write_bytes(source.read_bytes())
    ran = run_cli("data", "split", tmp_path / "set")
    assert ran.code == 5
    assert "have no patient" in ran.error
    assert not (tmp_path / "set" / "patients.csv").exists()


def test_show_draws_both_classes(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "panel.png"
    ran = run_cli("data", "show", cells, "-o", out, "--cells", "8", "--columns", "4")
    assert ran.code == 0, ran.err
    panel = read_image(out)
    assert panel.shape[1] > 4 * 96
    halves = np.array_split(panel, 2)
    assert all((half.max(axis=2) > 60).mean() > 0.2 for half in halves)
    assert run_cli("data", "show", cells, "-o", out).code == 2
    assert run_cli("data", "show", cells, "-o", tmp_path / "panel.txt").code == 2
    assert run_cli("data", "show", tmp_path / "none", "-o", tmp_path / "x.png").code == 5


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "served"
    root.mkdir()
    (root / "cells.zip").write_bytes(b"not really a zip")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/cells.zip"
    server.shutdown()
    server.server_close()
    thread.join()


def test_get_fetches_and_verifies(address: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"not really a zip").hexdigest()
    out = tmp_path / "nih"
    ran = run_cli("data", "get", "nih", "-o", out, "--url", address, "--sha256", digest)
    assert ran.code == 0, ran.err
    assert ran.out.strip() == str(out / "cell_images.zip")
    assert (out / "cell_images.zip").read_bytes() == b"not really a zip"
    assert "data split" in ran.err


@pytest.mark.parametrize(
    ("more", "code", "word"),
    [
        (("--sha256", "0" * 64), 5, "expected SHA-256"),
        ((), 5, "expected 353452851 bytes"),
        (("--sha256", "abc"), 2, "64 hex digits"),
    ],
)
def test_get_refuses_another_file(
    address: str, tmp_path: Path, more: tuple[str, ...], code: int, word: str
) -> None:
    ran = run_cli("data", "get", "nih", "-o", tmp_path / "nih", "--url", address, *more)
    assert ran.code == code
    assert word in ran.error
    assert not (tmp_path / "nih" / "cell_images.zip").exists()


def test_get_of_an_unknown_set_is_a_usage_error(tmp_path: Path) -> None:
    assert run_cli("data", "get", "mnist", "-o", tmp_path).code == 2
