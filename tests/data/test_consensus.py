"""Several readers' labels: all must agree, the rest is listed, agreement is stated."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.data.consensus import Reading, merge, read_labels, write_consensus
from edge_malaria.errors import DatasetError, UsageError
from tests.cli import run_cli, validate

CALLS = st.dictionaries(st.sampled_from([f"c{i}.png" for i in range(8)]), st.integers(0, 1))


def reading(name: str, labels: dict[str, int]) -> Reading:
    records = {file: {"file": file, "class": str(label)} for file, label in labels.items()}
    return Reading(name, labels, records, ("file", "class"))


def write_reader(path: Path, labels: dict[str, str], **more: str) -> Path:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("file", "class", *more))
        writer.writerows((file, word, *more.values()) for file, word in labels.items())
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as table:
        return list(csv.DictReader(table))


@given(st.lists(CALLS, min_size=2, max_size=4))
def test_every_cell_is_agreed_disputed_or_incomplete(calls: list[dict[str, int]]) -> None:
    merged = merge([reading(f"r{index}", labels) for index, labels in enumerate(calls)])
    groups = [set(merged.agreed), set(merged.disputed), set(merged.incomplete)]
    every = set().union(*calls)
    assert sum(map(len, groups)) == len(every) and set().union(*groups) == every
    for name, label in merged.agreed.items():
        assert all(labels[name] == label for labels in calls)
    for name in merged.disputed:
        assert {labels[name] for labels in calls} == {0, 1}
    assert all(any(name not in labels for labels in calls) for name in merged.incomplete)


def test_the_command_merges_lists_and_marks(tmp_path: Path) -> None:
    p, u = "Parasitized", "Uninfected"
    one = {"a.png": p, "b.png": p, "c.png": u, "d.png": u, "e.png": u}
    two = {**one, "b.png": u}
    three = {**one, "d.png": u, "f.png": p}
    readers = [
        write_reader(tmp_path / f"{name}.csv", labels, patient_id="P1")
        for name, labels in (("ann", one), ("ben", two), ("cyd", three))
    ]
    # The data set calls c parasitized; a was suspect before; z nobody read.
    known = {**one, "c.png": p, "z.png": u}
    patients = write_reader(tmp_path / "patients.csv", known, suspect_label="0")
    out = tmp_path / "agreed.csv"
    ran = run_cli("data", "consensus", *readers, "-o", out, "--patients", patients, "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "consensus")
    assert [row["file"] for row in rows_of(out)] == ["a.png", "c.png", "d.png", "e.png"]
    assert rows_of(out)[0] == {"file": "a.png", "class": p, "patient_id": "P1"}
    assert rows_of(tmp_path / "agreed.disagreements.csv") == [
        {"file": "b.png", "reason": "disputed", "ann": p, "ben": u, "cyd": p},
        {"file": "f.png", "reason": "incomplete", "ann": "", "ben": "", "cyd": p},
    ]
    suspects = {
        row["file"]
        for row in rows_of(tmp_path / "agreed.patients.csv")
        if row["suspect_label"] == "1"
    }
    assert suspects == {"b.png", "c.png"}
    assert ran.json["suspect_labels"] == 2
    kappas = {tuple(pair["readers"]): pair["kappa"] for pair in ran.json["cohen_kappa"]}
    # Ann and Ben agree on 4 of 5; by chance (2 * 1 + 3 * 4) / 25 would be alike.
    assert kappas[("ann", "ben")] == pytest.approx((4 / 5 - 14 / 25) / (1 - 14 / 25))
    assert kappas[("ann", "cyd")] == 1.0
    again = run_cli("data", "consensus", *readers, "-o", out)
    assert again.code == 2 and "exists" in again.error
    table = run_cli("data", "consensus", *readers, "-o", out, "--force")
    assert table.code == 0 and "1 disputed" in table.out


def test_bad_labels_are_said(tmp_path: Path) -> None:
    good = write_reader(tmp_path / "good.csv", {"a.png": "parasitized"})
    with pytest.raises(UsageError, match="two readers"):
        merge([read_labels(good)])
    with pytest.raises(UsageError, match="one name"):
        merge([read_labels(good), read_labels(good)])
    bad = write_reader(tmp_path / "bad.csv", {"a.png": "perhaps"})
    with pytest.raises(DatasetError, match="perhaps"):
        read_labels(bad)
    twice = tmp_path / "twice.csv"
    twice.write_text("file,class\nx/a.png,1\ny/a.png,0\n")
    with pytest.raises(DatasetError, match="twice"):
        read_labels(twice)
    other = tmp_path / "other.csv"
    other.write_text("name,label\n")
    with pytest.raises(DatasetError, match="columns"):
        read_labels(other)


def test_written_labels_are_read_back(tmp_path: Path) -> None:
    merged = merge([reading("a", {"x.png": 1, "y.png": 0}), reading("b", {"x.png": 1, "y.png": 0})])
    write_consensus(tmp_path / "out.csv", merged)
    assert dict(read_labels(tmp_path / "out.csv").labels) == {"x.png": 1, "y.png": 0}
