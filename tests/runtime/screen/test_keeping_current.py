"""A slide that is still being read has a report."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path

import pytest

from edge_malaria.files import write_image
from edge_malaria.runtime.screen.keeping_current import KeptCurrent
from edge_malaria.synthetic import DrawnStage
from tests.cli import run_cli


def test_a_slow_report_takes_a_small_share_of_the_time() -> None:
    written: list[float] = []

    def write() -> None:
        time.sleep(0.02)
        written.append(time.monotonic())

    current = KeptCurrent(write, every_s=0.0)
    ends = time.monotonic() + 1.2
    while time.monotonic() < ends:
        current.step()
        time.sleep(0.001)
    gaps = [b - a for a, b in itertools.pairwise(written)]
    assert gaps and min(gaps) >= 0.4, "at most a twentieth of the time"


@pytest.mark.slow
def test_a_followed_folder_has_a_report_while_it_is_read(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    config = tmp_path / "c.toml"
    config.write_text('[source]\nfollow_idle_s = 8.0\npoll_s = 0.2\n[report]\nlanguage = "fr"\n')
    stage = DrawnStage(3, 2, 0.05, view_px=(640, 480))
    shots = [shot.image for shot in stage]
    write_image(folder / "a.png", shots[0])
    seen: list[str] = []

    def watch() -> None:
        page = out / "report.html"
        ends = time.monotonic() + 60
        while time.monotonic() < ends and not page.is_file():
            time.sleep(0.05)
        seen.append(page.read_text(encoding="utf-8"))
        write_image(folder / "b.png", shots[1])

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = run_cli("screen", folder, "--follow", "-o", out, "--config", config)
    watcher.join()
    assert done.code == 0, done.err
    assert 'http-equiv="refresh"' in seen[0] and '<html lang="fr">' in seen[0]
    end = (out / "report.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in end and '<html lang="fr">' in end
    assert json.loads((out / "report.json").read_text())["fields_seen"] == 2
