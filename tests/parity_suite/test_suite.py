"""The suite as a user meets it: command, JSON, JUnit, Markdown, page, pytest plugin."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.data.dataset import open_dataset
from edge_malaria.errors import DatasetError, MissingExtra, UsageError
from edge_malaria.files import write_image
from edge_malaria.parity import Settings, gate
from edge_malaria.parity.page import as_html
from edge_malaria.parity.render import as_junit, as_markdown
from edge_malaria.runtime.engines.fake import FakeEngine
from tests.cli import run_cli, run_process
from tests.other_session import pytest_in
from tests.parity import faults
from tests.parity.faults import INT8


@pytest.fixture(scope="module")
def near_cells(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden cells as a labelled data set of 16 patients, labels those of Keras."""
    goldens = read_goldens(read_bundle(tiny_bundle).contents)
    root = tmp_path_factory.mktemp("cells") / "cells"
    lines = ["file,class,patient_id,split"]
    called = goldens.keras.raw >= goldens.cells.threshold_logit
    for index, (cell, positive) in enumerate(zip(goldens.cells.inputs, called, strict=True)):
        label = "Parasitized" if positive else "Uninfected"
        write_image(root / label / f"cell{index:04d}.png", cell)
        lines.append(f"cell{index:04d}.png,{label},P{index % 16},val")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return root


def _shift_int8(bundle: Path, steps: int) -> None:
    faults.shift_logit(bundle / INT8, steps)
    faults.record_again(bundle)


def test_json_follows_its_schema_and_junit_says_the_same(
    tiny_bundle: Path, near_cells: Path, tmp_path: Path
) -> None:
    outputs = {"--junit": "p.xml", "--markdown": "p.md", "--html": "p.html"}
    words = [word for flag, name in outputs.items() for word in (flag, str(tmp_path / name))]
    ran = run_process(
        "parity", tiny_bundle, "--data", near_cells, "--split", "val", "--delta", "0.2", "--json",
        *words,
    )  # fmt: skip
    assert ran.code in (0, 1), ran.err
    schema = json.loads(resources.files("edge_malaria.schemas").joinpath("parity.json").read_text())
    jsonschema.validate(ran.json, schema)
    assert ran.json["passed"] == (ran.code == 0)
    assert ran.json["evidence"] == "val"
    names = {(pair["reference"], pair["candidate"]) for pair in ran.json["pairs"]}
    assert ("keras", "litert.int8") in names
    assert ("litert.int8", "onnx.int8") in names
    suite = ElementTree.parse(tmp_path / "p.xml").getroot()
    assert int(suite.get("tests", "0")) == len(suite)
    assert (int(suite.get("failures", "0")) > 0) == (ran.code == 1)
    assert "# parity of tiny" in (tmp_path / "p.md").read_text()
    assert "<!doctype html>" in (tmp_path / "p.html").read_text()


def test_a_shifted_int8_is_refused_on_labelled_cells(
    tiny_bundle: Path, near_cells: Path, tmp_path: Path
) -> None:
    bundle = faults.copy_bundle(tiny_bundle, tmp_path / "bundle")
    _shift_int8(bundle, 12)
    report = gate(bundle, dataset=open_dataset(near_cells), split="val")
    refused = [f for f in report.all_failures() if f.stage == "statistics"]
    assert any(f.subject == "litert.int8" and "specificity" in f.what for f in refused)
    page = as_html(report)
    flipped = [pair for pair in report.pairs if pair.flips]
    assert page.count("<img ") == sum(pair.flips for pair in flipped) > 0
    assert "http" not in page
    assert "cell0" in page
    junit = ElementTree.fromstring(as_junit(report))
    messages = [element.get("message", "") for element in junit.iter("failure")]
    assert {f.message for f in report.all_failures()} == set(messages)
    assert all(f.message in as_markdown(report) for f in report.all_failures())


def test_an_engine_that_is_missing_is_named_and_never_passed(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A None in sys.modules is how Python itself marks a package that is not there.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = gate(tiny_bundle)
    assert report.passed
    assert {"onnx.float32: the engine onnx is not installed"} <= set(report.not_run)
    assert not any("onnx" in pair.candidate for pair in report.pairs)
    with pytest.raises(MissingExtra, match=r"pip install 'edge-malaria\[onnx\]'"):
        gate(tiny_bundle, engines=["litert", "onnx"])
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    nothing = gate(tiny_bundle)
    assert not nothing.passed
    assert nothing.pairs == ()
    assert "no pair was compared" in as_markdown(nothing)
    assert int(ElementTree.fromstring(as_junit(nothing)).get("failures", "0")) == 1


def test_an_unknown_engine_is_a_usage_error(tiny_bundle: Path) -> None:
    with pytest.raises(UsageError, match="expected one of litert, onnx"):
        gate(tiny_bundle, engines=["tensorrt"])
    assert run_cli("parity", tiny_bundle, "--engine", "tensorrt").code == 2


def test_only_the_named_engine_runs(tiny_bundle: Path) -> None:
    report = gate(tiny_bundle, engines=["litert"])
    assert {pair.candidate.partition(".")[0] for pair in report.pairs} == {"litert"}
    assert not any("onnx" in line for line in report.not_run)


def test_another_reference_is_refused(tiny_bundle: Path) -> None:
    other = FakeEngine(lambda x: x[..., 0].mean(axis=(1, 2)).astype(np.float32) / 40 - 3)
    report = gate(tiny_bundle, reference=other)
    assert not report.passed
    assert any("reference is another model" in f.message for f in report.all_failures())


def test_an_extra_engine_joins_the_matrix(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    keras = read_goldens(bundle.contents).keras
    good = FakeEngine(lambda x: keras.raw if len(x) == len(keras.raw) else keras.crop_raw)
    report = gate(bundle, extra={"ctool.float32": good})
    assert report.passed
    assert ("keras", "ctool.float32") in {(p.reference, p.candidate) for p in report.pairs}
    bad = FakeEngine(lambda x: np.full(len(x), np.nan, np.float32))
    refused = gate(bundle, extra={"ctool.int8": bad})
    assert {f.subject for f in refused.all_failures()} == {"ctool.int8"}


def test_an_empty_split_is_an_error_not_a_pass(tiny_bundle: Path, near_cells: Path) -> None:
    with pytest.raises(DatasetError, match="no cell in split test"):
        gate(tiny_bundle, dataset=open_dataset(near_cells), split="test")


def test_settings_that_prove_nothing_are_refused() -> None:
    for wrong in ({"delta": 0.0}, {"delta": float("nan")}, {"resamples": 5}):
        with pytest.raises(ValueError, match="expected"):
            Settings(**wrong)  # type: ignore[arg-type]


def test_the_pytest_suite_passes_and_fails_with_the_gate(tiny_bundle: Path, tmp_path: Path) -> None:
    suite = ("--pyargs", "edge_malaria.parity_suite", "--bundle")
    good = pytest_in(tmp_path, "-q", *suite, tiny_bundle)
    assert good.returncode == 0, good.stdout
    assert "skipped" in good.stdout
    bundle = faults.copy_bundle(tiny_bundle, tmp_path / "bundle")
    _shift_int8(bundle, 40)
    bad = pytest_in(tmp_path, "-q", *suite, bundle)
    assert bad.returncode == 1
    assert "wrong zero point" in bad.stdout
    missing = pytest_in(tmp_path, "-q", *suite, tmp_path / "nothing")
    assert missing.returncode == 1
    assert "1 failed" in missing.stdout
    assert "does not exist" in missing.stdout


@pytest.mark.slow
def test_the_plugin_is_inert_in_other_sessions(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    assert True\n")
    (tmp_path / "conftest.py").write_text(
        'def pytest_addoption(parser):\n    parser.addoption("--bundle", default="mine")\n'
    )
    assert pytest_in(tmp_path, "-q", "--bundle", "x").returncode == 0
