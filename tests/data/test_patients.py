"""Whose cells they are: ids, tables that do not fit, copies, and patients that nobody knows."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.data.consensus import mark_suspects, merge, read_labels
from edge_malaria.data.dataset import Row, assert_patient_disjoint, open_dataset
from edge_malaria.data.splits import patients_from, read_mapping, split_by_cell, write_patients
from edge_malaria.data.tables import Patients, near_equal, parse_table, patient_id
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.files import encode_image
from tests.data.cells import picture, write

NAMES = ["Parasitized/1.png", "Parasitized/2.png", "Uninfected/3.png", "Uninfected/4.png"]


def table(root: Path, ids: list[str], splits: list[str] | None = None) -> None:
    """patients.csv for ``NAMES``."""
    lines = ["file,class,patient_id,split"]
    for name, owner, split in zip(NAMES, ids, splits or [""] * 4, strict=True):
        label, file = name.split("/")
        lines.append(f'{file},{label},"{owner}",{split}')
    (root / "patients.csv").write_text("\n".join(lines))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "cells", NAMES)


def test_spellings_of_one_patient_are_one(root: Path) -> None:
    table(root, ["D001", "d001", "D001 ", "D002"])
    data = open_dataset(root)
    assert [row.patient_id for row in data.rows] == ["D001", "D001", "D001", "D002"]
    assert "written in more than one way" in " ".join(data.warnings)


@pytest.mark.parametrize("spelled", ["d001", "D001 ", " D001"])
def test_a_patient_in_two_splits_is_a_leak_however_spelled(root: Path, spelled: str) -> None:
    table(root, ["D001", "D002", spelled, "D003"], ["train", "val", "test", "test"])
    with pytest.raises(DatasetError, match="leak: patient D001"):
        open_dataset(root).select("test")
    rows = [Row("a", 1, "D001", "train"), Row("b", 0, spelled, "test")]
    with pytest.raises(DatasetError, match="leak"):
        assert_patient_disjoint(rows)


@pytest.mark.parametrize("blank", ["", "  ", "nan", "NaN", "None", "null", "N/A", "-", "unknown"])
def test_blank_ids_are_refused_wherever_a_table_is_read(
    root: Path, tmp_path: Path, blank: str
) -> None:
    table(root, ["A", "B", blank, "D"])
    with pytest.raises(DatasetError, match=r"line 4 has .*patient_id"):
        open_dataset(root)
    assert not open_dataset(root, no_patients=True).has_patients
    if blank.strip():
        mapping = tmp_path / "mapping.csv"
        mapping.write_text(f"1.png,A\n2.png,{blank}\n")
        with pytest.raises(DatasetError, match="patient_id"):
            read_mapping([mapping])
    readings = merge([read_labels(_labels(tmp_path, name)) for name in ("r1", "r2")])
    with pytest.raises(DatasetError, match="patient_id"):
        mark_suspects(root / "patients.csv", tmp_path / "out.csv", readings)


def _labels(folder: Path, reader: str) -> Path:
    path = folder / f"{reader}.csv"
    lines = [f"{name.split('/')[1]},{name.split('/')[0]}" for name in NAMES]
    path.write_text("\n".join(["file,class", *lines]))
    return path


def test_ids_nearly_alike_are_warned_of() -> None:
    assert "'D-001' and 'D001'" in near_equal(["D001", "D-001", "D002"])[0]
    assert near_equal(["D001", "D1"]) and near_equal(["1.0", "1"])
    assert not near_equal(["D001", "D010", "D100", "H_C1", "H_C11", "P061"])


@given(st.text(max_size=20))
def test_an_id_is_stripped_or_refused(text: str) -> None:
    try:
        made = patient_id(text, "here")
    except DatasetError:
        return
    assert made and made == made.strip()
    assert patient_id(f" {made}\t", "here") == made
    names = Patients()
    assert names(made, "here") == names(made.upper() if made.upper().casefold() == made.casefold()
                                        else made, "here")  # fmt: skip


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_an_error_of_ours(data: bytes) -> None:
    with contextlib.suppress(DatasetError):
        parse_table(data, "x.csv", ("file",))


def test_tables_of_excel_are_read() -> None:
    text = "File;Class;Patient ID\r\n1.png;Parasitized;A\r\n"
    for data in (text.encode("utf-8-sig"), text.encode("utf-16"), text.replace(";", "\t").encode()):
        read = parse_table(data, "x.csv", ("file", "class", "patient_id"))
        assert read.records == ({"file": "1.png", "class": "Parasitized", "patient_id": "A"},)
    with pytest.raises(DatasetError, match="Save it as CSV UTF-8"):
        parse_table("file,class\nä,b".encode("latin-1"), "x.csv")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1.png,Parasitized,A,train", "named twice"),
        ("1.png,Parasitised,A,train", "line 6: expected class"),
        (",Parasitized,A,train", "the file's name is blank"),
        ("9.png,Parasitized,A,nowhere", None),
    ],
)
def test_one_bad_row_is_an_error_with_its_line(root: Path, line: str, words: str | None) -> None:
    table(root, ["A2", "B", "C", "D"])
    path = root / "patients.csv"
    path.write_text(f"{path.read_text()}\n{line}\n")
    if words is None:  # a cell that is not here
        assert "names 1 cells that are not" in " ".join(open_dataset(root).warnings)
        return
    with pytest.raises(DatasetError, match=words):
        open_dataset(root)


@pytest.mark.parametrize("split", ["Train", " VALID ", "testing"])
def test_splits_are_read_as_people_write_them(root: Path, split: str) -> None:
    table(root, ["A", "B", "C", "D"], [split] * 4)
    assert open_dataset(root).has_splits
    table(root, ["A", "B", "C", "D"], [split, split, split, ""])
    with pytest.raises(DatasetError, match="1 of 4 cells have no split"):
        open_dataset(root)
    table(root, ["A", "B", "C", "D"], [split, split, split, "holdout"])
    with pytest.raises(DatasetError, match=r"line 5: expected split train, val or test"):
        open_dataset(root)


def test_two_files_of_one_name_need_their_folders(tmp_path: Path) -> None:
    names = ["w1/Parasitized/1.png", "w2/Parasitized/1.png", "w1/Uninfected/2.png"]
    root = write(tmp_path / "cells", names)
    head = "file,class,patient_id\n2.png,Uninfected,A\n"
    (root / "patients.csv").write_text(f"{head}1.png,Parasitized,B\n")
    with pytest.raises(DatasetError, match=r"two different files are named 1\.png"):
        open_dataset(root)
    both = "".join(f"w{i}/Parasitized/1.png,Parasitized,B{i}\n" for i in (1, 2))
    (root / "patients.csv").write_text(head + both)
    assert [row.patient_id for row in open_dataset(root).rows] == ["B1", "B2", "A"]


def test_a_table_inside_the_zip_counts(root: Path, tmp_path: Path) -> None:
    table(root, ["A", "B", "C", "D"])
    shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    data = open_dataset(tmp_path / "packed.zip")
    assert [row.patient_id for row in data.rows] == ["A", "B", "C", "D"]


def test_a_copy_inside_the_copy_counts_once(root: Path) -> None:
    shutil.copytree(root / "Parasitized", root / "cell_images" / "Parasitized")
    shutil.copyfile(root / NAMES[2], root / "Uninfected" / "3 - Copy.png")
    data = open_dataset(root)
    assert [row.file for row in data.rows][:2] == NAMES[:2]
    assert len(data.rows) == 4
    assert any("3 of 7 cells are copies" in line for line in data.warnings)
    # Re-encoded or blank pictures are no copies.
    blank = encode_image(np.full((6, 6, 3), 120, np.uint8))
    for number in range(3):
        (root / "Uninfected" / f"blank{number}.png").write_bytes(blank)
    assert len(open_dataset(root).rows) == 7


def test_a_picture_of_two_classes_patients_or_splits_is_said(tmp_path: Path) -> None:
    names = [
        f"{s}/{c}/{s}{c}.png" for s in ("train", "test") for c in ("Parasitized", "Uninfected")
    ]
    root = write(tmp_path / "cells", names)
    (root / "test" / "Parasitized" / "again.png").write_bytes(picture(0))
    with pytest.raises(DatasetError, match="1 pictures stand in two splits"):
        open_dataset(root).select("train")
    (root / "test" / "Parasitized" / "again.png").unlink()
    (root / "train" / "Uninfected" / "again.png").write_bytes(picture(0))
    data = open_dataset(root)
    assert len(data.rows) == 5
    assert any("1 pictures stand in both classes" in line for line in data.warnings)


def test_patients_are_read_from_paths() -> None:
    rows = [Row(f"Parasitized/ward{i}/pat-{i}_cell.png", 1) for i in (1, 2)]
    for pattern in (r"pat-(\d+)", r"(?P<patient>pat-\d+)_", r"pat-\d+"):
        done, warnings = patients_from(rows, pattern)
        assert len({row.patient_id for row in done}) == 2 and not warnings
    with pytest.raises(DatasetError, match="finds no patient in 1 of 2 paths"):
        patients_from(rows, "pat-(1)")
    with pytest.raises(UsageError, match="no regular expression"):
        patients_from(rows, "pat-(")
    joined, warnings = patients_from([Row("a/D1.png", 1), Row("a/d1.png", 0)], r"(\w1)\.")
    assert {row.patient_id for row in joined} == {"D1"} and warnings


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 60), st.integers(3, 60), st.integers(0, 9))
def test_a_split_by_cell_has_both_classes_everywhere(sick: int, well: int, seed: int) -> None:
    rows = [Row(f"p{i}", 1) for i in range(sick)] + [Row(f"u{i}", 0) for i in range(well)]
    done = split_by_cell(rows, seed)
    assert {(row.split, row.label) for row in done} == {
        (split, label) for split in ("train", "val", "test") for label in (0, 1)
    }
    assert done == split_by_cell(list(rows), seed)


def test_unknown_patients_are_loud_and_never_assumed(tmp_path: Path) -> None:
    names = [f"{c}/{c}{i}.png" for c in ("Parasitized", "Uninfected") for i in range(10)]
    root = write(tmp_path / "cells", names)
    assert not open_dataset(root).unknown_patients
    data = open_dataset(root, unknown_patients=True)
    assert data.unknown_patients and data.has_splits and not data.has_patients
    assert data.warnings[0].startswith("PATIENTS ARE UNKNOWN")
    write_patients(root / "patients.csv", [Row(r.file, r.label, f"P{i}") for i, r in
                                           enumerate(data.rows)])  # fmt: skip
    known = open_dataset(root, unknown_patients=True)
    assert known.has_patients and not known.unknown_patients
    assert "changes nothing" in " ".join(known.warnings)


@pytest.mark.parametrize(
    "folders", ["cells/", "C:\\Users\\me\\cells\\", "/home/me/", "other/Place/"]
)
def test_folders_of_another_computer_do_not_matter(root: Path, folders: str) -> None:
    lines = [f"{folders}{name},{name.split('/')[0]},{i}" for i, name in enumerate(NAMES)]
    (root / "patients.csv").write_text("\n".join(["file,class,patient_id", *lines]))
    assert [row.patient_id for row in open_dataset(root).rows] == ["0", "1", "2", "3"]


def test_a_file_of_another_folder_is_not_taken_for_one_of_the_same_name(tmp_path: Path) -> None:
    names = ["w1/Parasitized/1.png", "w2/Parasitized/1.png", "w1/Uninfected/2.png"]
    root = write(tmp_path / "cells", names)
    text = "file,class,patient_id\n2.png,Uninfected,A\nw1/Parasitized/1.png,Parasitized,B\n"
    (root / "patients.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"does not name 1 of 3 files \(first: w2"):
        open_dataset(root)
