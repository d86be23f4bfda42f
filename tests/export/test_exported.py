"""The table of an export: a file that passes by an exception says which."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from edge_malaria.bundle.file_spec import FileSpec, TensorSpec
from edge_malaria.cli.export import _print as print_exported
from edge_malaria.export.exported import Exported, size_table
from edge_malaria.parity import ParityReport, Settings
from edge_malaria.parity.findings import Pair

TENSOR = TensorSpec("pixels", (48, 48, 3), "float32")


def made(variant: str, **changes: object) -> Exported:
    """An export of one variant that passed on LiteRT; ONNX Runtime was not there."""
    pair = Pair("keras", f"litert.{variant}", "drawn", 1024, 0.0, 0.0, 60.0, 1.0, 0, 1.0, True)
    report = ParityReport("mine", "val", {"drawn": 1024}, (), (pair,), (), {variant: 9}, Settings())
    files = tuple(
        (variant, FileSpec(engine, f"model.{end}", 9, "00", variant, TENSOR, TENSOR))
        for engine, end in (("litert", "tflite"), ("onnx", "onnx"))
    )
    plain = Exported(Path("mine-bundle"), report, files, None, 1.0, 0.01, "per-channel-ptq")
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_file_that_no_engine_ran_is_not_called_passed() -> None:
    rows = size_table(made("int8"))
    assert [row[3] for row in rows] == ["passed", "not run: onnx is missing"]


def test_each_exception_is_named() -> None:
    wide = replace(made("int8").report, settings=Settings(delta=0.6))
    assert made("int8", report=wide).verdict("int8", "litert") == "passed (margin 60.0%)"
    sure = replace(made("int8").report, temperature=812.34)
    verdict = made("int8", report=sure).verdict("int8", "litert")
    assert verdict == "passed (probabilities at temperature 812.3)"
    partly = made("int8-mixed", recipe="keep-float-2")
    assert partly.verdict("int8-mixed", "litert") == "passed (keep-float-2)"


def test_the_accuracy_stands_beside_the_variant_that_was_measured() -> None:
    exported = made("int8", evaluation={"accuracy": 0.97, "variant": "int8"})
    assert [row[4] for row in size_table(exported)] == ["0.9700", "0.9700"]


def test_the_lines_that_come_next_can_be_typed_as_they_stand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_exported(made("int8", path=Path("my cells/mine-bundle")))
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    ours = [line for line in lines if line[:1] == ["edge-malaria"]]
    assert len(ours) == 3
    assert all("my cells/mine-bundle" in line for line in ours)
