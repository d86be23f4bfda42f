"""The commands of the documents, run word for word in a bare environment with the wheel beside."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edge_malaria.bundle.shipped import SHIPPED_MODELS
from tests.install.conftest import environment, run
from tests.wheel import ROOT

pytestmark = pytest.mark.timeout(3600)


def _block(document: str, words: str) -> list[str]:
    """The lines of the first shell block of a document that holds ``words``."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return next(block for block in blocks if words in block).splitlines()


def test_readme_s_raspberry_pi_commands(wheel: Path, tmp_path: Path) -> None:
    """All but apt and the camera itself; the "system" has a numpy of its own, which stays."""
    shutil.copy(wheel, tmp_path)
    lines = _block("README.md", "screen picamera")
    ours = [line for line in lines if not line.startswith("sudo apt") and "screen" not in line]
    assert len(ours) >= 4
    system = environment(tmp_path / "system", "numpy==1.24.2")
    home = {"HOME": str(tmp_path), "PATH": f"{system}:/usr/bin:/bin"}
    script = "set -eu\n" + "\n".join(ours)
    # A venv of a venv inherits the packages of the base Python, not of the first: lay them in.
    script = script.replace(
        "~/edge-malaria/bin/python -c",
        f"cp -r {system.parent}/lib/python*/site-packages/numpy* "
        "~/edge-malaria/lib/python*/site-packages/\n~/edge-malaria/bin/python -c",
    )
    ran = run("bash", "-c", script, cwd=tmp_path, more=home)
    assert "engine used" in ran.stdout
    python = tmp_path / "edge-malaria" / "bin" / "python"
    told = run(python, "-c", "import numpy; print(numpy.__version__)", cwd=tmp_path)
    assert told.stdout.strip() == "1.24.2"
    run(python.with_name("edge-malaria"), "selftest", cwd=tmp_path)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="numpy 1.24 has no wheels for this Python")
def test_modules_compiled_for_the_system_s_numpy_still_import(wheel: Path, tmp_path: Path) -> None:
    """simplejpeg is what picamera2 compiles in; this build needs numpy 1."""
    programs = environment(tmp_path / "pi", "numpy==1.24.2", "simplejpeg==1.6.6")
    probe = "import numpy, simplejpeg; print(simplejpeg.encode_jpeg(numpy.zeros((8,8,3),'u1'))[:2])"
    run(programs / "python", "-c", probe, cwd=tmp_path)
    keep = tmp_path / "keep.txt"
    keep.write_text("numpy==1.24.2\n")
    pip = [programs / "python", "-m", "pip", "install", "--quiet"]
    run(*pip, "-c", keep, f"{wheel}[litert]", cwd=tmp_path)
    run(programs / "python", "-c", probe, cwd=tmp_path)
    run(programs / "edge-malaria", "selftest", cwd=tmp_path)
    # Without the constraint it breaks, which is why the documents have it.
    run(*pip, "numpy>=2", cwd=tmp_path)
    broken = run(programs / "python", "-c", probe, cwd=tmp_path, ok=False)
    assert broken.returncode != 0


def test_parity_md_s_commands_for_a_ci(wheel: Path, tmp_path: Path) -> None:
    """And pytest-xdist and another order, which a project may use."""
    (tmp_path / "dist").mkdir()
    shutil.copy(wheel, tmp_path / "dist")
    shutil.copytree(SHIPPED_MODELS / "micro", tmp_path / "my-bundle")
    programs = environment(tmp_path / "ci")
    path = {"PATH": f"{programs}:/usr/bin:/bin"}
    lines = _block("docs/PARITY.md", "--pyargs")
    run("bash", "-c", "set -eu\n" + "\n".join(lines), cwd=tmp_path, more=path)
    pip = [programs / "python", "-m", "pip", "install", "--quiet"]
    run(*pip, "pytest-xdist", "pytest-random-order", cwd=tmp_path)
    suite = ["--pyargs", "edge_malaria.parity_suite", "--edge-malaria-bundle", "my-bundle"]
    flags = ["-n", "2", "--random-order", "-W", "error", "--junitxml", "p.xml"]
    run(programs / "pytest", *suite, *flags, cwd=tmp_path)
    [report] = ElementTree.parse(tmp_path / "p.xml").getroot()
    assert int(report.get("tests", "0")) > 10
    assert report.get("failures") == report.get("errors") == "0"


def test_a_hint_installs_what_is_missing(wheel: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "bare", str(wheel))
    ran = run(programs / "edge-malaria", "selftest", cwd=tmp_path, ok=False)
    assert ran.returncode in (1, 3), ran.stderr
    crop = tmp_path / "cell.png"
    draw = "import cv2, numpy; cv2.imwrite('cell.png', numpy.full((40, 40, 3), 90, 'u1'))"
    run(programs / "python", "-c", draw, cwd=tmp_path)
    ran = run(programs / "edge-malaria", "classify", crop, cwd=tmp_path, ok=False)
    assert ran.returncode == 3
    hint = re.search(r"Install it with: (pip install .*)", ran.stderr)
    assert hint is not None, ran.stderr
    path = {"PATH": f"{programs}:/usr/bin:/bin"}
    run("bash", "-c", hint.group(1), cwd=tmp_path, more=path)
    run(programs / "edge-malaria", "classify", crop, cwd=tmp_path)
