"""Data sets: layouts, patients, splits, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.data.dataset import Row, assert_patient_disjoint, open_dataset, parse_nih_name
from edge_malaria.errors import DatasetError, ImageError, UsageError
from edge_malaria.files import encode_image

PIXELS = encode_image(np.full((6, 6, 3), 120, np.uint8))
INFECTED = "C100P61ThinF_IMG_20150918_144104_cell_162.png"
HEALTHY = "C238NThinF_IMG_20151207_114038_cell_106.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "cells"
    for label, name in (
        ("Parasitized", INFECTED),
        ("Uninfected", INFECTED),
        ("Uninfected", HEALTHY),
    ):
        path = root / "cell_images" / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PIXELS)
    (root / "cell_images" / "Uninfected" / "Thumbs.db").write_bytes(b"x")
    return root


def write_patients(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    lines = ["file,class,patient_id,split"] + [",".join(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def test_patients_come_from_nih_names(folder: Path) -> None:
    data = open_dataset(folder)
    assert [(r.label, r.patient_id) for r in data.rows] == [(1, "P061"), (0, "P061"), (0, "H_C238")]
    assert data.has_patients and not data.has_splits


@pytest.mark.parametrize(
    ("name", "patient", "slide"),
    [
        (INFECTED, "P061", "C100P61ThinF"),
        ("C167P128ReThinF_IMG_20151201_105102_cell_245.png", "P128", "C167P128ReThinF"),
        ("C37BP2_thinF_IMG_20150620_131423a_cell_92.png", "P002", "C37BP2_thinF"),
        ("C61P22N_ThinF_IMG_20150818_112252_cell_213.png", "P022", "C61P22N_ThinF"),
        ("C3thin_original_IMG_20150608_162835_cell_101.png", "H_C3", "C3thin_original"),
    ],
)
def test_name_forms_of_the_archive(name: str, patient: str, slide: str) -> None:
    assert parse_nih_name(name) == (patient, slide)


def test_a_zip_gives_the_same_rows_and_pixels(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "cells.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    data, unpacked = open_dataset(packed), open_dataset(folder)
    assert data.rows == unpacked.rows
    assert (data.read(data.rows[0]) == unpacked.read(unpacked.rows[0])).all()


def test_a_table_that_lies_there_and_does_not_fit_is_an_error(folder: Path) -> None:
    rows = [
        (INFECTED, "Parasitized", "A", "train"),
        (INFECTED.replace(".png", ".webp"), "Uninfected", "A", "train"),
        (HEALTHY, "Uninfected", "B", "test"),
    ]
    write_patients(folder / "patients.csv", rows)
    data = open_dataset(folder)
    assert [r.patient_id for r in data.rows] == ["A", "A", "B"] and data.has_splits
    assert [r.file for r in data.select("test").rows] == [f"cell_images/Uninfected/{HEALTHY}"]
    write_patients(folder / "patients.csv", rows[:2])
    for given in (None, folder / "patients.csv"):
        with pytest.raises(DatasetError, match=r"does not name 1 of 3 files.*--no-patients"):
            open_dataset(folder, given)
    ignored = open_dataset(folder, no_patients=True)
    assert not ignored.has_patients and not ignored.has_splits
    assert any("is ignored (--no-patients)" in line for line in ignored.warnings)
    with pytest.raises(UsageError, match="contradict"):
        open_dataset(folder, folder / "patients.csv", no_patients=True)


def test_a_leak_is_an_error() -> None:
    rows = [Row("a", 1, "P1", "train"), Row("b", 0, "P1", "test")]
    with pytest.raises(DatasetError, match="leak: patient P1"):
        assert_patient_disjoint(rows)
    assert_patient_disjoint([Row("a", 1, "P1", "train"), Row("b", 0, "P2", "test")])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        open_dataset(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images in class folders"):
        open_dataset(tmp_path / "empty")
    only = tmp_path / "only" / "Parasitized"
    only.mkdir(parents=True)
    (only / "a.png").write_bytes(PIXELS)
    with pytest.raises(DatasetError, match="named Uninfected"):
        open_dataset(tmp_path / "only")
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(DatasetError, match="readable zip"):
        open_dataset(tmp_path / "bad.zip")


def test_a_damaged_picture_names_its_file(folder: Path) -> None:
    data = open_dataset(folder)
    (folder / data.rows[0].file).write_bytes(b"")
    with pytest.raises(ImageError, match=INFECTED):
        data.read(data.rows[0])


@pytest.mark.slow
def test_the_real_cells_are_patient_disjoint(data_dir: Path) -> None:
    data = open_dataset(data_dir / "nih" / "cell_images.zip")
    assert len(data.rows) == 26_379
    assert_patient_disjoint(data.rows)
    assert_patient_disjoint(data.rows, "fold")
    assert len(data.select("test").rows) == 4_067
    parsed = [parse_nih_name(row.name) for row in data.rows]
    assert parsed == [(row.patient_id, row.slide_key) for row in data.rows]
