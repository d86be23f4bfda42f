"""``edge-malaria screen`` as a user runs it: real processes, real kills, bad input."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import encode_image, write_image
from edge_malaria.synthetic import draw_field
from tests.cli import Ran, hear_ctrl_c, run_cli, run_process, validate

pytestmark = pytest.mark.usefixtures("shipped_bundle")
SIM = "sim:parasitemia=0.05,fields=5,seed=5,width=800,height=600,cell_diameter_px=55"


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A drawn slide, screened whole."""
    out = tmp_path_factory.mktemp("screen") / "report"
    return out, run_process("screen", SIM, "-o", out, "--json")


def cells(out: Path) -> list[dict[str, str]]:
    """The rows of cells.csv."""
    with (out / "cells.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_json_and_files(screened: tuple[Path, Ran]) -> None:
    out, ran = screened
    assert ran.code == 0, ran.err
    validate(ran.json, "screen")
    assert ran.json["fields_seen"] == 5
    assert ran.json["cells_counted"] > 100
    for name in ("report.json", "report.md", "report.html", "cells.csv", "journal.jsonl"):
        assert (out / name).is_file(), name
    assert list((out / "fields").glob("*.jpg"))
    assert len([r for r in cells(out) if r["counted"] == "true"]) == ran.json["cells_counted"]
    report = json.loads((out / "report.json").read_text())
    assert report["verdict"] == ran.json["verdict"]


def test_an_existing_report_is_kept_unless_forced(screened: tuple[Path, Ran]) -> None:
    out, _ = screened
    before = (out / "report.json").read_bytes()
    again = run_cli("screen", SIM, "-o", out)
    assert (again.code, "--resume" in again.error) == (2, True)
    assert (out / "report.json").read_bytes() == before


def test_force_never_deletes_what_is_not_a_report(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    ran = run_cli("screen", SIM, "-o", tmp_path, "--force")
    assert ran.code == 2
    assert "thesis.txt" in ran.error
    assert (tmp_path / "thesis.txt").exists()


def killed_in_the_middle(out: Path) -> bool:
    """Kills a run with a report begun; False where this process was too late for it."""
    command = [sys.executable, "-m", "edge_malaria.cli.app", "screen", SIM, "-o", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline
        if process.poll() is not None:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return not (out / "report.json").exists()


@pytest.mark.slow
def test_kill_and_resume_end_like_a_whole_run(screened: tuple[Path, Ran], tmp_path: Path) -> None:
    # A machine that does other things too may look away for the rest of five fields.
    tries = (tmp_path / f"killed{number}" for number in range(5))
    out = next(path for path in tries if killed_in_the_middle(path))
    ran = run_cli("screen", SIM, "-o", out, "--json", "--resume")
    assert ran.code == 0, ran.err
    timeless = {k: v for k, v in ran.json.items() if k != "elapsed_s"}
    assert timeless == {k: v for k, v in screened[1].json.items() if k != "elapsed_s"}
    assert cells(out) == cells(screened[0])


@pytest.mark.slow
def test_ctrl_c_leaves_a_report_and_can_go_on(tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    spec = SIM.replace("fields=5", "fields=40")
    command = [sys.executable, "-m", "edge_malaria.cli.app", "screen", spec, "-o", str(out)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume" in err
    report = json.loads((out / "report.json").read_text())
    assert 2 <= report["fields_seen"] < 40
    ran = run_cli("screen", spec, "-o", out, "--resume", "--fields", "4", "--json")
    assert ran.code == 0, ran.err


def test_a_mixed_folder_is_screened_and_names_what_it_refused(tmp_path: Path) -> None:
    folder = tmp_path / "slide"
    good = draw_field(3, 800, 600, cell_diameter_px=55)[0]
    other = draw_field(4, 1000, 500, cell_diameter_px=70)[0]
    write_image(folder / "good.jpg", good)
    write_image(folder / "other.png", other)
    data = encode_image(good, ".jpg")
    (folder / "truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "empty.png").write_bytes(b"")
    write_image(folder / "black.png", np.zeros((600, 800, 3), np.uint8))
    ran = run_cli("screen", folder, "-o", tmp_path / "report", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["fields_seen"] == 6
    assert ran.json["fields_rejected"] == {"too-dark": 1, "unreadable": 3}
    assert {r["field"] for r in cells(tmp_path / "report")} == {"good.jpg", "other.png"}
    assert "Traceback" not in ran.err


def test_no_accepted_field_is_indeterminate_in_plain_words(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "black.png", np.zeros((300, 400, 3), np.uint8))
    ran = run_cli("screen", tmp_path / "in", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "No red cell could be counted" in ran.out
    assert "refused: 1 x too-dark" in ran.out
    assert "For research use only" in ran.out
    assert "Indeterminate" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["no-such-folder"], 2, "no such source"),
        (["camera:77"], 3, "camera:77"),
        (["sim:colour=blue"], 2, "colour"),
        ([SIM, "--rbc-per-ul", "5"], 2, "rbc-per-ul"),
        ([SIM, "--rbc-per-ul", "4e6", "--haematocrit", "40"], 2, "not both"),
        (["--report-only"], 2, "--resume"),
        ([SIM, "--config", "no.toml"], 2, "no.toml"),
    ],
)
def test_errors_are_one_line_with_the_right_code(
    tmp_path: Path, arguments: list[str], code: int, hint: str
) -> None:
    ran = run_cli("screen", *arguments, "-o", tmp_path / "r", cwd=tmp_path)
    assert ran.code == code, ran.err
    assert hint in ran.error
    assert not (tmp_path / "r").exists()


def test_more_threads_than_any_board_has_are_refused(tmp_path: Path) -> None:
    ran = run_cli("screen", SIM, "-o", tmp_path / "r", "--threads", "100000")
    assert (ran.code, "--threads" in ran.err) == (2, True)


def test_a_file_that_is_no_picture_alone_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    ran = run_cli("screen", tmp_path / "text.jpg", "-o", tmp_path / "r")
    assert ran.code == 5
    assert "text.jpg" in ran.error


def test_an_unwritable_output_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ran = run_cli("screen", SIM, "-o", tmp_path / "file" / "report")
    assert ran.code == 5, ran.err
    assert "cannot write" in ran.error or "Not a directory" in ran.error


@pytest.mark.slow
def test_a_full_disk_midway_is_a_storage_error_and_can_be_resumed(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: no file may grow beyond 200 kB."""
    out = tmp_path / "report"
    spec = SIM.replace("fields=5", "fields=8")
    command = [sys.executable, "-m", "edge_malaria.cli.app", "screen", spec, "-o", str(out)]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=limit, check=False, timeout=200
    )
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    journal = (out / "journal.jsonl").read_bytes()
    assert journal.endswith(b"\n")
    assert all(json.loads(line) for line in journal.splitlines())
    ran = run_cli("screen", spec, "-o", out, "--resume", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["fields_seen"] == 8


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs root, mount")
def test_a_really_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this container may not mount a tmpfs")
    try:
        spec = SIM.replace("fields=5", "fields=30")
        ran = run_process("screen", spec, "-o", disk / "report")
        assert ran.code == 5, ran.err
        assert "disk full" in ran.error
    finally:
        subprocess.run(["umount", str(disk)], check=True)
