"""The base install writes the report in every language: no package of the pages is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGES = ("babel", "jinja2", "starlette", "uvicorn", "fpdf", "prometheus_client", "argon2")
SMALL = "sim:parasitemia=0.1,fields=1,seed=3,width=640,height=480"


def test_a_report_in_bengali_without_the_packages_of_the_pages(tmp_path: Path) -> None:
    for name in PAGES:
        (tmp_path / "none" / name).mkdir(parents=True)
        (tmp_path / "none" / name / "__init__.py").write_text("raise ImportError('not here')")
    where = {**os.environ, "PYTHONPATH": str(tmp_path / "none")}
    out = tmp_path / "slide"
    command = [sys.executable, "-m", "edge_malaria.cli.app"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=where, capture_output=True, text=True, timeout=300, check=False
        )

    done = run("screen", SMALL, "-o", str(out), "--language", "bn", "--json")
    assert done.returncode == 0, done.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<html lang="bn">' in page and "যেসব কোষ দেখতে হবে" in page
    counted = json.loads(done.stdout)["cells_counted"]
    # A report written anew keeps its language, or takes another.
    assert run("report", str(out)).returncode == 0
    assert '<html lang="bn">' in (out / "report.html").read_text(encoding="utf-8")
    assert run("report", str(out), "--language", "pt").returncode == 0
    assert '<html lang="pt">' in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "report.json").read_text())["cells_counted"] == counted
    assert run("serve").returncode == 3
