"""``camera empty-place`` as a process: the picture is taken, kept, and used by ``screen``."""

from __future__ import annotations

import json
from pathlib import Path

from edge_malaria.runtime.sources.cameras import CAMERA_FACT
from tests.cli import run_cli, run_process

CAMERA = "camera:sim:fields=2,shading=0.4,frames_per_s=100,width=640,height=480,cell_diameter_px=60"


def test_the_command_takes_a_picture_that_slides_use(tmp_path: Path) -> None:
    config, kept = tmp_path / "config.toml", tmp_path / "empty-place.json"
    config.write_text("[camera]\nwarm_up_s = 0.0\n")
    take = ("camera", "empty-place", f"{CAMERA},empty=1", "-o", kept, "--config", config)
    done = run_process("camera", "empty-place", *take[2:])
    assert done.code == 0, done.err
    assert kept.is_file() and len(list(tmp_path.glob("empty-place*.png"))) == 1
    assert run_cli(*take).code == 2  # never written over
    assert (
        run_cli("camera", "empty-place", CAMERA, *take[3:], "--force").code != 0
    )  # cells are there
    config.write_text(f'[camera]\nwarm_up_s = 0.0\nempty_place = "{kept}"\n')
    out = tmp_path / "slide"
    assert run_cli("screen", CAMERA, "--config", config, "-o", out).code == 0
    facts = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    assert any(CAMERA_FACT in json.dumps(fact) for fact in facts)
