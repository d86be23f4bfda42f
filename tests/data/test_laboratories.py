"""Which fields may train what ships, and which only report."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fields.cell_truth import files_of
from edge_malaria.data.laboratories import (
    LABORATORIES,
    SETS,
    TRAINING_SETS,
    field_files,
    report_units,
    slide_of,
    training_files,
)
from edge_malaria.errors import DatasetError, UsageError


def make_set(fields: Path, name: str, pictures: list[str]) -> None:
    folder = fields / name / "images"
    folder.mkdir(parents=True)
    for picture in pictures:
        (folder / picture).write_bytes(b"")


def test_every_third_picture_reports(tmp_path: Path) -> None:
    make_set(tmp_path, "bccd", [f"{i}.png" for i in range(9)])
    names = {part: [p.name for p in field_files(tmp_path, "bccd", part)] for part in _PARTS}
    assert names["report"] == ["2.png", "5.png", "8.png"]
    assert sorted(names["fit"] + names["report"]) == names["all"]
    assert [p.name for p in training_files(tmp_path, "bccd")] == names["fit"]


_PARTS = ("fit", "report", "all")


def test_of_the_cheap_rig_whole_slides_report(tmp_path: Path) -> None:
    slides = ["A-10", "B-20", "B-30", "C-10"]
    make_set(tmp_path, "cheap_rig", [f"{s}_{i:04d}.webp" for s in slides for i in range(4)])
    report = {slide_of("cheap_rig", p.name) for p in field_files(tmp_path, "cheap_rig", "report")}
    fit = {slide_of("cheap_rig", p.name) for p in field_files(tmp_path, "cheap_rig", "fit")}
    assert (report, fit) == ({"B-30"}, {"A-10", "B-20", "C-10"})


@pytest.mark.parametrize("name", ["iml", "bbbc041", "phone_eyepiece", "westlake", "nowhere"])
def test_what_must_not_train_is_never_opened(name: str, tmp_path: Path) -> None:
    make_set(tmp_path, name, ["1.png", "2.png"])
    with pytest.raises(UsageError, match="must not train"):
        training_files(tmp_path, name)


def test_a_missing_set_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="bccd"):
        training_files(tmp_path, "bccd")


def test_sets_of_one_laboratory_are_left_out_together() -> None:
    assert {SETS[name].laboratory for name in TRAINING_SETS} == set(LABORATORIES)
    assert SETS["chula"].laboratory == SETS["chula_more"].laboratory
    assert not {"iml", "bbbc041", "phone_eyepiece"} & set(TRAINING_SETS)


def test_a_name_decides_once_however_often_it_stands() -> None:
    assert report_units(["d", "a", "c", "b", "f", "e", "c", "a"]) == {"c", "f"}


def test_the_benchmarks_part_a_set_as_the_training_does(tmp_path: Path) -> None:
    rig = [f"{slide}_{i}.png" for slide in ("A-1", "A-2", "B-1", "C-3") for i in range(3)]
    make_set(tmp_path, "cheap_rig", rig)
    make_set(tmp_path, "raabin", [f"{i:02d}.png" for i in range(10)])
    for name in ("cheap_rig", "raabin"):
        for part in _PARTS:
            expected = field_files(tmp_path, name, part)
            assert files_of(tmp_path / name, part) == expected and expected
