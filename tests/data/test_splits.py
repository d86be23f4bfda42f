"""Splits by patient: disjoint, near their shares, the same for the same seed."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.data.dataset import SPLITS, Row, open_dataset
from edge_malaria.data.splits import (
    COLUMNS,
    FOLDS,
    SHARES,
    apply_mapping,
    patients_table,
    read_mapping,
    split_by_patient,
    summary,
)
from edge_malaria.errors import DatasetError

counts = st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda pair: sum(pair) > 0)


def rows_of(patients: list[tuple[int, int]]) -> list[Row]:
    rows = []
    for number, (sick, well) in enumerate(patients):
        name = f"C{number}P{number}thinF_IMG_2015_cell_"
        rows += [Row(f"Parasitized/{name}{i}.png", 1, f"P{number:03d}") for i in range(sick)]
        rows += [Row(f"Uninfected/{name}{i}.png", 0, f"P{number:03d}") for i in range(well)]
    return rows


@given(patients=st.lists(counts, min_size=5, max_size=30), seed=st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_no_patient_is_in_two_parts_and_no_part_is_empty(
    patients: list[tuple[int, int]], seed: int
) -> None:
    rows = rows_of(patients)
    done = split_by_patient(rows, seed)
    assert [(row.file, row.label, row.patient_id) for row in done] == [
        (row.file, row.label, row.patient_id) for row in rows
    ]
    splits, folds = defaultdict(set), defaultdict(set)
    for row in done:
        splits[row.patient_id].add(row.split)
        folds[row.patient_id].add(row.fold)
    assert all(len(parts) == 1 for parts in splits.values())
    assert all(len(parts) == 1 for parts in folds.values())
    assert {row.split for row in done} == set(SPLITS)
    assert {row.fold for row in done} == set(range(FOLDS))
    assert done == split_by_patient(rows, seed)


def test_shares_are_met_for_both_classes() -> None:
    # Infected patients of uneven size, and healthy ones: the shape of the NIH set.
    patients = [(10 + 7 * (i % 13), 5 + 3 * (i % 7)) for i in range(120)] + [(0, 60)] * 40
    done = split_by_patient(rows_of(patients))
    sick, well = sum(a for a, _ in patients), sum(b for _, b in patients)
    for (split, _, got_sick, got_well), share in zip(summary(done), SHARES, strict=True):
        assert got_sick / sick == pytest.approx(share, abs=0.02), split
        assert got_well / well == pytest.approx(share, abs=0.02), split
    folds = Counter((row.fold, row.label) for row in done)
    for (_, label), cells in folds.items():
        assert cells / (sick if label else well) == pytest.approx(0.2, abs=0.02)


def test_another_seed_is_another_split() -> None:
    rows = rows_of([(20, 20)] * 30)
    assert split_by_patient(rows, 1) != split_by_patient(rows, 2)


def test_cells_without_patients_are_refused() -> None:
    rows = [*rows_of([(5, 5)] * 6), Row("Uninfected/scan7.png", 0)]
    with pytest.raises(DatasetError, match=r"1 of 61 files have no patient.*scan7"):
        split_by_patient(rows)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DatasetError, match="4 patients cannot be split"):
        split_by_patient(rows_of([(5, 5)] * 4))


def test_the_table_has_the_columns_and_is_read_back(tmp_path: Path) -> None:
    import numpy as np

    from edge_malaria.data.splits import write_patients
    from edge_malaria.files import encode_image
    from edge_malaria.synthetic import draw_cell

    cell = encode_image(draw_cell(np.random.default_rng(0), size_px=20).image)
    rows = rows_of([(1, 1)] * 6)
    for row in rows:
        file = tmp_path / "cells" / row.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cell)
    opened = open_dataset(tmp_path / "cells")
    done = split_by_patient(opened.rows, 3)
    write_patients(tmp_path / "cells" / "patients.csv", done)
    again = open_dataset(tmp_path / "cells")
    assert [(r.file, r.patient_id, r.split, r.fold, r.slide_key) for r in again.rows] == [
        (r.file, r.patient_id, r.split, r.fold, r.slide_key) for r in done
    ]
    lines = list(csv.DictReader(io.StringIO(patients_table(done))))
    assert tuple(lines[0]) == COLUMNS
    assert lines[0]["field_id"] == "C0P0thinF_IMG_2015"


def test_official_mapping_gives_patients(tmp_path: Path) -> None:
    one, two = tmp_path / "parasitized.csv", tmp_path / "uninfected.csv"
    one.write_text(
        "file,patient\nC8P8thinF_IMG_1_cell_1.png,C8P8\nC9P8thin_IMG_1_cell_2.png,C9P8\n"
    )
    two.write_text("C240ThinF,C240ThinF_IMG_1_cell_3.png\nX1_cell_4.png,ward-7\n")
    mapping = read_mapping([one, two])
    rows = apply_mapping(
        [
            Row("Parasitized/C8P8thinF_IMG_1_cell_1.webp", 1),
            Row("Parasitized/C9P8thin_IMG_1_cell_2.png", 1),
            Row("Uninfected/C240ThinF_IMG_1_cell_3.png", 0),
            Row("Uninfected/X1_cell_4.png", 0),
        ],
        mapping,
    )
    # Patient 8 has two slides: both are his.
    assert [row.patient_id for row in rows] == ["P008", "P008", "H_C240", "ward-7"]
    with pytest.raises(DatasetError, match="does not name 1 of 1 files"):
        apply_mapping([Row("Uninfected/other.png", 0)], mapping)


@pytest.mark.parametrize("text", ["", "a,b\nc,d\n"])
def test_a_mapping_without_images_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mapping.csv").write_text(text)
    with pytest.raises(DatasetError, match="no line names an image and its patient"):
        read_mapping([tmp_path / "mapping.csv"])


def test_a_missing_mapping_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read the mapping"):
        read_mapping([tmp_path / "none.csv"])


@pytest.mark.slow
def test_real_names_give_the_published_patients(data_dir: Path, tmp_path: Path) -> None:
    # A link elsewhere, so that the patients.csv beside the archive is not used.
    link = tmp_path / "cell_images.zip"
    link.symlink_to(data_dir / "nih" / "cell_images.zip")
    named = open_dataset(link)
    listed = open_dataset(data_dir / "nih" / "cell_images.zip")
    # The list may know more than a name does; it never splits what a name joins.
    by_name, by_list = defaultdict(set), defaultdict(set)
    known = {row.file: row.patient_id for row in listed.rows}
    for row in named.rows:
        by_name[row.patient_id].add(known[row.file])
        by_list[known[row.file]].add(row.patient_id)
    assert all(len(patients) == 1 for patients in by_name.values())
    assert all(len(patients) == 1 for patients in by_list.values())
    done = split_by_patient(named.rows)
    total = Counter(row.label for row in done)
    for (split, _, sick, well), share in zip(summary(done), SHARES, strict=True):
        assert sick / total[1] == pytest.approx(share, abs=0.03), split
        assert well / total[0] == pytest.approx(share, abs=0.03), split
