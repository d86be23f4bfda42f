"""``camera empty-place`` as a process: the picture is taken and kept, and cells are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import run_cli, run_process

CAMERA = "camera:sim:fields=2,shading=0.4,frames_per_s=100,width=640,height=480,cell_diameter_px=60"


@pytest.mark.slow
def test_the_command_keeps_a_picture_of_an_empty_place(tmp_path: Path) -> None:
    config, kept = tmp_path / "config.toml", tmp_path / "empty-place.json"
    config.write_text("[camera]\nwarm_up_s = 0.0\n")
    take = ("camera", "empty-place", f"{CAMERA},empty=1", "-o", kept, "--config", config)
    done = run_process("camera", "empty-place", *take[2:])
    assert done.code == 0, done.err
    assert kept.is_file() and len(list(tmp_path.glob("empty-place*.png"))) == 1
    assert run_cli(*take).code == 2  # never written over
    cells = run_cli("camera", "empty-place", CAMERA, *take[3:], "--force")
    assert cells.code != 0, "a place with cells was taken as an empty one"
