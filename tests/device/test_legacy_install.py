"""The commands on 32-bit ARM with the lowest versions that ``[tflite-legacy]`` allows.

Debian's numpy is the lowest one already. OpenCV alone is older than the bound there: no wheel of
it for 32-bit ARM lies in the index, and Raspberry Pi OS brings its own.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.device import arm, arm_root, processors
from tests.lowest import lowest

ROOT = Path(__file__).parents[2]
# The system brings these, at the versions asked for but for OpenCV.
OF_THE_SYSTEM = ("numpy", "opencv-python-headless", "tflite-runtime")
pytestmark = [pytest.mark.device, pytest.mark.timeout(3600)]
_COMMANDS = """
uname -m
export LD_LIBRARY_PATH=/usr/lib/arm-linux-gnueabihf/blas:/usr/lib/arm-linux-gnueabihf/lapack
export PYTHONPATH=/mnt/typer:/opt/site:/mnt/em PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
cd /mnt/out
em() { python3 -m edge_malaria.cli.entry "$@"; }
python3 -c 'import numpy, typer, tflite_runtime
for name in ("numpy", "typer", "tflite_runtime"):
    print(name.replace("_", "-") + "==" + globals()[name].__version__)'
em screen --help >help
em doctor --json >doctor.json
em selftest >selftest
em data synth cells -o cells --cells 40 --seed 1
em classify cells --json >classified.json
set -- cells/cell_images/Parasitized/*.png
em explain default "$1" -o why.png --page why.html --json >explained.json
em bundle install /mnt/em/edge_malaria/models/micro --store store
slide=sim:parasitemia=0.05,fields=2,seed=3,width=640,height=480
python3 -m edge_malaria.cli.entry screen $slide -o slide & killed=$!
until grep -qs '"kind":"field"' slide/journal.jsonl; do kill -0 $killed && sleep 0.1; done
kill -9 $killed
wait $killed || true
[ ! -f slide/report.json ]
em screen $slide -o slide --resume --json >resumed.json
em review slide --export flagged.csv
sed '2,$s/,,,$/,no-parasite,,/' flagged.csv >decided.csv
em review slide --import decided.csv --reader Amina --json >reviewed.json
em report slide --fhir slide.fhir.json --sample A-17 --signed-by Sam --language sw
"""


def test_the_commands_run_on_the_lowest_versions(tmp_path: Path) -> None:
    reason = arm_root.why_not(arm_root.ARMV7)
    if reason:
        pytest.skip(reason)
    bounds = lowest("tflite-legacy")
    ours = [line for line in bounds if line.split("==")[0] not in OF_THE_SYSTEM]
    try:
        arm_root.build(arm_root.ARMV7)
        whole = dataclasses.replace(arm_root.ARMV7, pip_options=())
        arm_root.pip(whole, "install", "--target", str(tmp_path / "typer"), *ours)
    except RuntimeError as error:
        pytest.skip(f"the system cannot be built here: {str(error).splitlines()[0]}")
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    binds = {
        "mnt/em/edge_malaria": ROOT / "edge_malaria",
        "mnt/em/converters": ROOT / "converters",
        "mnt/typer": tmp_path / "typer",
        "mnt/out": out,
    }
    try:
        said = arm.run_shell(
            arm_root.ARMV7, processors.CORTEX_A7, _COMMANDS, binds, work, timeout_s=3000
        )
    except arm.CannotStartPrograms as error:
        pytest.skip(str(error))
    machine, *versions = said.split()[:4]
    assert machine.startswith("arm")
    assert set(versions) == {line for line in bounds if not line.startswith("opencv")}
    assert "--operating-point" in (out / "help").read_text()
    findings = _json(out / "doctor.json")["findings"]
    states = {found["what"]: found["state"] for found in findings}
    problems = sorted(what for what, state in states.items() if state == "problem")
    assert problems == [] and states["engine litert"] == "ok"
    cells = _json(out / "classified.json")
    assert len(cells) == 40 and {cell["variant"] for cell in cells} == {"int8"}
    check_cells(out)
    check_slide(out)


def check_cells(out: Path) -> None:
    """What the commands for single cells and for bundles left behind."""
    explained = _json(out / "explained.json")
    assert explained["engine"] == "litert" and explained["peak"]["logit_drop"] > 0
    assert (out / "why.png").is_file() and "<html" in (out / "why.html").read_text()
    assert [path.name for path in (out / "store").rglob("bundle.json")] == ["bundle.json"]


def check_slide(out: Path) -> None:
    """What a slide left behind that was killed, went on, was looked at and reported."""
    resumed = _json(out / "resumed.json")
    assert resumed["fields_seen"] == 2 and resumed["cells_counted"] > 10
    reviewed = _json(out / "reviewed.json")
    flagged = resumed["cells_flagged"]
    assert flagged > 0 and reviewed["review"]["reviewed"] == flagged
    assert reviewed["basis"] == "reader" and reviewed["review"]["readers"] == ["Amina"]
    assert '<html lang="sw"' in (out / "slide" / "report.html").read_text()
    assert _json(out / "slide.fhir.json")["resourceType"] == "Bundle"


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
