"""``doctor`` on broken machines: it always runs, and every finding has its fix."""

from __future__ import annotations

import os
import tomllib
import venv
from pathlib import Path

import pytest

from edge_malaria import extras
from edge_malaria.doctor import packages
from tests.doctor.runs import ROOT, command, findings


def _module(folder: Path, name: str, body: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(body)
    return folder


def test_it_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    """A Python with the standard library alone: no numpy, no OpenCV, no typer."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python")
    found = findings(command("doctor", "--json", python=python))
    for what in ("numpy", "opencv", "command line", "engine used", "bundle used"):
        assert found[what]["state"] == "problem", found[what]
    assert found["opencv"]["fix"] == "pip install opencv-python-headless"
    plain = command("doctor", python=python)
    assert plain.returncode == 0
    assert "fix: pip install" in plain.stdout
    other = command("selftest", python=python)
    assert other.returncode == 3
    assert other.stderr.startswith("error: ")
    assert "edge-malaria doctor" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_an_opencv_for_another_numpy_is_told_apart(tmp_path: Path) -> None:
    broken = _module(tmp_path, "cv2", 'raise ImportError("numpy.core.multiarray failed to import")')
    found = findings(command("doctor", "--json", path=(broken,)))
    assert found["opencv"]["state"] == "problem"
    assert "another numpy" in found["opencv"]["detail"]
    assert "numpy<2" in found["opencv"]["fix"]
    assert found["numpy"]["state"] == "ok"
    other = command("selftest", path=(broken,))
    assert other.returncode == 3
    assert "edge-malaria doctor" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_module_that_kills_its_process_is_a_finding(tmp_path: Path) -> None:
    broken = _module(tmp_path, "onnxruntime", "import os, signal; os.kill(os.getpid(), 4)")
    found = findings(command("doctor", "--json", path=(broken,)))
    assert "signal 4" in found["engine onnx"]["detail"]
    assert found["engine litert"]["state"] == "ok"


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        ("class Picamera2: pass", "ok", ""),
        (
            'raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")',
            "problem",
            "numpy",
        ),
        ('raise ImportError("libcamera.so.0.5: cannot open shared object file")', "problem", "apt"),
    ],
)
def test_picamera2_is_imported(tmp_path: Path, body: str, state: str, words: str) -> None:
    found = findings(command("doctor", "--json", path=(_module(tmp_path, "picamera2", body),)))
    assert found["picamera2"]["state"] == state
    assert words in found["picamera2"]["fix"]


def test_hints_name_packages_that_an_index_has() -> None:
    """The package itself is on no index: no hint may begin with it."""
    for extra in ("litert", "onnx", "export", "train", "serve", "push"):
        command = extras.pip_command(extra)
        assert command.startswith("pip install ")
        assert "edge-malaria" not in command
    assert "onnxruntime" in extras.pip_command("onnx")
    assert "tensorflow" in extras.pip_command("train")
    assert "tensorflow-cpu" not in extras.pip_command("litert")


def test_an_old_package_is_named_with_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "typer-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: typer\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [name for name, have, _ in extras.too_old() if have == "0.1.0"] == ["typer"]
    found = packages._versions()
    assert found.state == "problem"
    assert "typer 0.1.0 is below" in found.detail


def test_every_requirement_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(r for e in project["optional-dependencies"].values()
                                         for r in e)]  # fmt: skip
    free = [line for line in lines if ">=" not in line and not line.startswith("edge-malaria[")]
    assert not free
