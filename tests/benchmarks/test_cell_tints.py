"""The limits of a red cell's colour rest on what may decide, and on nothing that only reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.evidence_file import EVIDENCE
from benchmarks.fields.cell_tints import DECIDING, deciding_files
from edge_malaria.data.laboratories import field_files
from edge_malaria.runtime.classify import cell_tint


@pytest.mark.parametrize("name", ["bbbc041", "phone_eyepiece", "westlake"])
def test_a_set_that_only_reports_decides_nothing(name: str, tmp_path: Path) -> None:
    assert name not in DECIDING
    assert deciding_files(tmp_path, name) == []


@pytest.mark.parametrize("name", ["iml", "cheap_rig"])
def test_no_picture_of_a_report_third_decides(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "images"
    folder.mkdir(parents=True)
    for slide in "ABCDEF":
        for number in range(3):
            (folder / f"{slide}_{number}.png").touch()
    chosen, reported = deciding_files(tmp_path, name), field_files(tmp_path, name, "report")
    assert len(chosen) == 12
    assert len(reported) == 6
    assert not set(chosen) & set(reported)


def test_the_limits_in_force_are_those_that_the_evidence_reads_off() -> None:
    figures = json.loads((EVIDENCE / "cell_tints.json").read_text())
    assert not {"bbbc041", "phone_eyepiece", "westlake"} & set(figures["deciding"])
    for part, prefix in (("slide_limits", "SLIDE"), ("cell_limits", "CELL")):
        limits = figures[part]
        assert getattr(cell_tint, f"{prefix}_COLOUR") == limits["colour"]
        assert list(getattr(cell_tint, f"{prefix}_RED")) == limits["red_to_green"]
        assert list(getattr(cell_tint, f"{prefix}_BLUE")) == limits["blue_to_green"]
