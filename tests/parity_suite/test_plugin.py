"""The pytest plugin beside other people's projects, and what a CI gets when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

import edge_malaria
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.parity_suite.options import OPTIONS, PREFIX
from tests.cli import run_cli
from tests.other_session import pytest_in

SUITE = Path(edge_malaria.__file__).parent / "parity_suite"
MICRO = SHIPPED_MODELS / "micro"
# A project with options of its own, its tests in another order, and a fixture of a common name.
CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--data", default="mine")
    parser.addoption("--bundle", default="mine")

def pytest_collection_modifyitems(items):
    items.reverse()

@pytest.fixture
def report():
    return "mine"
"""
MINE = """
def test_mine(report, pytestconfig):
    assert report == "mine"
    assert pytestconfig.getoption("--data") == "theirs"
"""


def _pytest(*arguments: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return pytest_in(cwd, "-q", *arguments, environment={**os.environ, **settings})


def _project(folder: Path) -> Path:
    (folder / "tests").mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "tests" / "test_mine.py").write_text(MINE)
    return folder


def test_it_works_by_path_beside_a_project_s_own_options(tmp_path: Path) -> None:
    ran = _pytest(
        "tests", SUITE, "-W", "error", "--data", "theirs", "--edge-malaria-bundle", MICRO,
        "--edge-malaria-engine", "litert", cwd=_project(tmp_path),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "failed" not in ran.stdout
    assert "statistics on labelled cells" in ran.stdout or "skipped" in ran.stdout
    assert "onnx" not in ran.stdout, "only the engine asked for is spoken of"


def test_it_works_by_testpaths(tmp_path: Path) -> None:
    project = _project(tmp_path)
    (project / "pytest.ini").write_text(
        f"[pytest]\ntestpaths = tests {os.path.relpath(SUITE, project)}\n"
        "addopts = --edge-malaria-bundle nothing-here\n"
    )
    ran = _pytest("--data", "theirs", cwd=project)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "1 failed, 1 passed" in ran.stdout
    assert "BundleSchemaError: bundle nothing-here does not exist" in ran.stdout


def test_it_works_where_plugins_are_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ran = _pytest(
        "-c", "pytest.ini", SUITE, "--edge-malaria-engine", "tensorrt", cwd=tmp_path,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )  # fmt: skip
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr
    assert "unknown engine 'tensorrt'" in ran.stdout


def _damaged(folder: Path) -> Path:
    bundle = Path(shutil.copytree(MICRO, folder / "damaged"))
    record = json.loads((bundle / "bundle.json").read_text())
    record["models"]["classifier"]["decision"]["bias"] = 0.0
    (bundle / "bundle.json").write_text(json.dumps(record))
    return bundle


WRONG = {
    "damaged bundle": (lambda f: ("--bundle", _damaged(f)), "was edited", 4),
    "wrong path": (lambda f: ("--bundle", f / "no"), "does not exist", 4),
    "no bundle": (lambda f: ("--bundle", f), "is not a bundle", 4),
    "unknown engine": (lambda f: ("--engine", "tensorrt"), "unknown engine", 2),
    "no data": (lambda f: ("--data", f / "none"), "none", 5),
    "a folder without cells": (lambda f: ("--data", f), "", 5),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_opened_is_one_failed_test_and_a_junit_file(
    name: str, tmp_path: Path
) -> None:
    words, said, code = WRONG[name]
    flags = words(tmp_path)
    prefixed = [PREFIX + str(flags[0])[2:], *flags[1:]]
    ran = _pytest(
        "--pyargs", "edge_malaria.parity_suite", *prefixed, "--junitxml", "suite.xml", cwd=tmp_path
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    suite = ElementTree.parse(tmp_path / "suite.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    assert said in ran.stdout
    option = () if flags[0] == "--bundle" else flags
    bundle = (flags[1],) if flags[0] == "--bundle" else ()
    told = run_cli("parity", *bundle, *option, "--junit", tmp_path / "command.xml")
    assert told.code == code
    assert said in told.error
    case = ElementTree.parse(tmp_path / "command.xml").getroot()[0]
    message = case[0].get("message") or ""
    assert message.split(":")[0] in told.error


def test_the_short_options_are_kept_where_they_are_free(tmp_path: Path) -> None:
    ran = _pytest("--pyargs", "edge_malaria.parity_suite", "--help", cwd=tmp_path)
    for name in OPTIONS:
        assert f"{PREFIX}{name}" in ran.stdout
        assert f"\n  --{name}=" in ran.stdout
    other = _pytest("--help", cwd=tmp_path)
    assert f"{PREFIX}bundle" in other.stdout
    assert "\n  --bundle" not in other.stdout, "other sessions keep their names"
