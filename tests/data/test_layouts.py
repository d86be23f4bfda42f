"""Class folders of any name, split folders, flat tables."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.labels import meaning_of, parse_classes
from edge_malaria.errors import DatasetError, UsageError
from tests.data.cells import picture, write


@pytest.mark.parametrize(
    ("text", "infected", "healthy"),
    [
        ("infected,healthy", "Infected", "healthy"),
        ("healthy, infected", "infected", "Healthy"),
        ("falciparum,healthy", "falciparum", "healthy"),
        ("A=parasitized,B=uninfected", "a", "b"),
        ("0=uninfected,1=parasitized", "1", "0"),
        ("Parasitised,Uninfected", "PARASITISED", "uninfected"),
    ],
)
def test_names_tell_their_meaning_in_any_order(text: str, infected: str, healthy: str) -> None:
    classes = parse_classes(text)
    assert (classes.label(infected), classes.label(healthy)) == (1, 0)
    assert classes.label("Parasitized") == 1
    assert classes.label("platelet") is None


@pytest.mark.parametrize(
    "text",
    ["A,B", "0,1", "infected", "infected,healthy,platelet", "infected,sick", "a=ill,b=well", "a,",
     "Uninfected=parasitized,x=uninfected"],
)  # fmt: skip
def test_names_that_tell_nothing_are_asked_for(text: str) -> None:
    with pytest.raises(UsageError, match="--classes"):
        parse_classes(text)


def test_the_line_to_type_is_shown() -> None:
    with pytest.raises(UsageError, match="--classes A=parasitized,B=uninfected"):
        parse_classes("A,B")


@given(st.text(max_size=12))
def test_any_word_means_one_thing_at_most(word: str) -> None:
    assert meaning_of(word) in (None, 0, 1)


def test_own_class_folders(tmp_path: Path) -> None:
    root = write(tmp_path / "own", ["infected/1.png", "healthy/1.png", "healthy/2.png"])
    data = open_dataset(root, classes="infected,healthy")
    assert [(row.file, row.label) for row in data.rows] == [
        ("infected/1.png", 1), ("healthy/1.png", 0), ("healthy/2.png", 0),
    ]  # fmt: skip
    with pytest.raises(DatasetError, match=r"infected \(1\).*Add --classes infected,healthy"):
        open_dataset(root)


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_split_folders_are_splits(tmp_path: Path, val: str) -> None:
    names = [f"{s}/{c}/{s}{c}.png" for s in ("train", val, "test") for c in ("sick", "well")]
    data = open_dataset(write(tmp_path / "own", names), classes="sick,well")
    assert {(row.file.split("/")[0], row.split) for row in data.rows} == {
        ("train", "train"), (val, "val"), ("test", "test"),
    }  # fmt: skip
    assert not data.has_patients


def test_a_patient_of_nih_names_in_two_split_folders_is_a_leak(tmp_path: Path) -> None:
    names = [
        f"{split}/{label}/C1P1thinF_IMG_2015_cell_{split}{label}.png"
        for split in ("train", "test")
        for label in ("Parasitized", "Uninfected")
    ]
    data = open_dataset(write(tmp_path / "kaggle", names))
    with pytest.raises(DatasetError, match="leak: patient P001"):
        data.select("test")
    aloud = open_dataset(tmp_path / "kaggle", no_patients=True)
    assert len(aloud.select("test").rows) == 2


def test_roboflow_names_are_those_of_the_table(tmp_path: Path) -> None:
    names = [
        f"train/{label}/cell{i}_png.rf.0a1b2c{i}{j}.jpg"
        for label in ("Parasitized", "Uninfected")
        for i in (1, 2)
        for j in (1, 2)
    ]
    root = write(tmp_path / "rf", [*names, "test/Parasitized/cell9_png.rf.ff.jpg"])
    lines = [f"cell{i}.png,{c},P{i}" for c in ("Parasitized", "Uninfected") for i in (1, 2)]
    lines.append("cell9.png,Parasitized,P9")
    (root / "patients.csv").write_text("\n".join(["file,class,patient_id", *lines]))
    data = open_dataset(root)
    assert {row.patient_id for row in data.rows} == {"P1", "P2", "P9"}


FLAT = ["pictures/a.png", "pictures/b.png", "pictures/c.png"]


@pytest.mark.parametrize(
    "text",
    [
        "file,class\na.png,infected\nb.png,healthy\nc.png,healthy\n",
        "image;label\r\npictures/a.png;Infected\r\nb;HEALTHY\r\nc;healthy\r\n",
        "file,label\nC:\\me\\a.png,infected\n/home/b.png,healthy\nx/pictures/c.png,healthy\n",
        "filename, infected, healthy\na.png, 1, 0\nb.png, 0, 1\nc.png, 0, 1\n",
        "\ufeffpath,category,patient\na.png,infected,P1\nb.png,healthy,p1\nc.png,healthy,P2\n",
    ],
)
@pytest.mark.parametrize("place", ["labels.csv", "elsewhere.csv", "as the data set"])
def test_flat_tables(tmp_path: Path, text: str, place: str) -> None:
    root = write(tmp_path / "flat", FLAT)
    name = "cells.csv" if place == "as the data set" else place
    (root / name).write_bytes(text.encode("utf-8"))
    path = root / name if place == "as the data set" else root
    data = open_dataset(path, classes="infected,healthy")
    assert [(row.file, row.label) for row in data.rows] == list(zip(FLAT, (1, 0, 0), strict=True))
    assert data.read(data.rows[0]).shape == (8, 8, 3)
    assert data.has_patients == ("patient" in text)


def test_roboflow_tables_of_split_folders(tmp_path: Path) -> None:
    root = write(
        tmp_path / "rf", [f"{s}/{i}.png" for s in ("train", "valid", "test") for i in (1, 2)]
    )
    for split in ("train", "valid", "test"):
        (root / split / "_classes.csv").write_text(
            "filename, Parasitized, Uninfected\n1.png, 1, 0\n2.png, 0, 1\n"
        )
    packed = tmp_path / "rf.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(root.rglob("*.*")):
            archive.write(path, path.relative_to(root))
    for data in (open_dataset(root), open_dataset(packed)):
        assert sorted((row.file, row.label, row.split) for row in data.rows)[:2] == [
            ("test/1.png", 1, "test"), ("test/2.png", 0, "test"),
        ]  # fmt: skip
        assert len(data.select("val").rows) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,class\na.png,infected\nb.png,healthy\nz.png,healthy\n", "1 of 3 files that are not"),
        ("file,class\na.png,1\nb.png,0\n", "line 2: expected class infected or healthy, got '1'"),
        ("file,class\na.png,infected\na.png,healthy\n", "line 3: a.png is named twice"),
        ("file,class\na.png,infected,x,y\n", "line 2: 4 cells, but 2 columns"),
        ("file,file,class\na,b,infected\n", "file stands there twice"),
        ("class\ninfected\n", "expected columns file"),
    ],
)
def test_a_flat_table_that_does_not_fit_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    root = write(tmp_path / "flat", FLAT)
    (root / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        open_dataset(root, classes="infected,healthy")


def test_a_folder_that_holds_the_archive_says_to_give_that(tmp_path: Path) -> None:
    folder = tmp_path / "nih"
    folder.mkdir()
    (folder / "patients.csv").write_text(
        "file,class,patient_id\na.png,Parasitized,P1\nb.png,Uninfected,H1\n"
    )
    with zipfile.ZipFile(folder / "cell_images.zip", "w") as archive:
        for name in ("cell_images/Parasitized/a.png", "cell_images/Uninfected/b.png"):
            archive.writestr(name, picture(len(name)))
    with pytest.raises(DatasetError, match=r"Give that: .*cell_images\.zip$") as refused:
        open_dataset(folder)
    given = Path(str(refused.value).rpartition("Give that: ")[2])
    assert len(open_dataset(given).rows) == 2
    (folder / "cell_images.zip").rename(folder / "cell_images.tar")
    with pytest.raises(DatasetError, match=r"cell_images\.tar\. Unpack that"):
        open_dataset(folder)
