"""A data set of one's own: class names, layouts, patients, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_image
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 drawn cells in folders infected and healthy, the ward's number in the name."""
    root = tmp_path_factory.mktemp("own") / "cells"
    for number in range(48):
        kind, folder = (("ring", "infected"), ("healthy", "healthy"))[number % 2]
        image = draw_cell(np.random.default_rng(number), kind, 40).image  # type: ignore[arg-type]
        write_image(root / folder / f"ward{number % 6}_{number}.png", image)
    return root


def test_split_from_the_names_then_evaluate(own: Path, tmp_path: Path) -> None:
    cells = Path(shutil.copytree(own, tmp_path / "cells"))
    names = ("--classes", "infected,healthy")
    assert "--classes infected,healthy" in run_cli("evaluate", "default", cells).error
    refused = run_cli("data", "split", cells, *names)
    assert refused.code == 5 and "--patients-from REGEX" in refused.err
    ran = run_cli("data", "split", cells, *names, "--patients-from", r"(ward\d+)_")
    assert ran.code == 0, ran.err
    assert {row.patient_id for row in open_dataset(cells, classes=names[1]).rows} == {
        f"ward{i}" for i in range(6)
    }
    ran = run_cli("evaluate", "default", cells, *names, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["split"] == "test" and ran.json["per_patient"]
    # The table that was written names the class of each file, so it needs no other names.
    assert run_cli("evaluate", "default", cells, "--json").json == ran.json


def test_a_template_is_filled_in_and_split(own: Path, tmp_path: Path) -> None:
    template = tmp_path / "fill.csv"
    names = ("--classes", "healthy,infected")
    ran = run_cli("data", "split", own, *names, "--template", "-o", template)
    assert ran.code == 0, ran.err
    blank = run_cli("data", "split", own, *names, "--patients", template, "-o", tmp_path / "p.csv")
    assert blank.code == 5 and "blank patient_id" in blank.error
    lines = template.read_text().splitlines()
    filled = [line.replace(",,", f",ward{i % 6},", 1) for i, line in enumerate(lines[1:])]
    template.write_text("\n".join([lines[0], *filled]))
    out = tmp_path / "p.csv"
    ran = run_cli("data", "split", own, *names, "--patients", template, "-o", out)
    assert ran.code == 0, ran.err
    ran = run_cli("evaluate", "default", own, *names, "--patients", out, "--json")
    assert ran.code == 0, ran.err


def test_one_way_of_naming_patients_at_a_time(own: Path) -> None:
    ran = run_cli("data", "split", own, "--template", "--patients-from", "x")
    assert ran.code == 2 and "give one of" in ran.error


def test_a_table_with_one_bad_row_ends_the_command(own: Path, tmp_path: Path) -> None:
    cells = Path(shutil.copytree(own, tmp_path / "cells"))
    names = ("--classes", "infected,healthy")
    run_cli("data", "split", cells, *names, "--patients-from", r"(ward\d+)_")
    table = cells / "patients.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    ran = run_cli("evaluate", "default", cells, *names)
    assert ran.code == 5 and "does not name 1 of 48 files" in ran.error
    ran = run_cli("evaluate", "default", cells, *names, "--no-patients", "--json")
    assert ran.code == 0, ran.err
    assert "is ignored (--no-patients)" in ran.err and "patients are unknown" in ran.err
    assert ran.json["per_patient"] is None and ran.json["n"] == 48


def test_a_patient_in_two_splits_ends_evaluate(own: Path, tmp_path: Path) -> None:
    cells = Path(shutil.copytree(own, tmp_path / "cells"))
    names = ("--classes", "infected,healthy")
    run_cli("data", "split", cells, *names, "--patients-from", r"(ward\d+)_")
    table = cells / "patients.csv"
    text = table.read_text()
    moved = text.replace(",train,", ",test,", 1)
    assert moved != text
    table.write_text(moved)
    for split in ((), ("--split", "all"), ("--split", "val")):
        ran = run_cli("evaluate", "default", cells, *names, *split)
        assert ran.code == 5 and "leak: patient ward" in ran.error


@pytest.mark.long
@pytest.mark.usefixtures("tensorflow")
def test_unknown_patients_train_and_are_never_quoted(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run, names = tmp_path / "run", ("--classes", "infected,healthy")
    how = ("--arch", "micro", "--epochs", "6", "--fine-tune", "1", "--batch", "8")
    call = ("train", own, "-o", run, *how, *names)
    refused = run_cli(*call)
    assert refused.code == 5 and "--unknown-patients" in refused.error
    ran = run_cli(*call, "--unknown-patients")
    assert ran.code == 0, ran.err
    assert "PATIENTS ARE UNKNOWN" in ran.err
    record = json.loads((run / "model.json").read_text())
    assert record["provenance"]["patients"] == "unknown"
    assert "false_positives" not in record["decision"]
    ran = run_cli("evaluate", run / "model.keras", own, *names, "--json")
    assert ran.code == 0, ran.err
    assert any("no figure of it may be quoted" in line for line in ran.json["warnings"])
    refused = run_cli("crossval", own, "-o", tmp_path / "cv", *names)
    assert refused.code == 5 and "would leak" in refused.error


@pytest.mark.long
@pytest.mark.slow
def test_a_hundred_cells_of_unknown_patients_are_exported(
    own: Path, working_keras: Path, tmp_path: Path
) -> None:
    from edge_malaria.bundle.format import read_bundle

    cells = Path(shutil.copytree(own, tmp_path / "cells"))
    for number in range(48, 100):
        kind, folder = (("ring", "infected"), ("healthy", "healthy"))[number % 2]
        image = draw_cell(np.random.default_rng(number), kind, 40).image  # type: ignore[arg-type]
        write_image(cells / folder / f"more_{number}.png", image)
    contract = ("--colour", "rgb", "--resize", "area", "--format", "tflite")
    names = ("--classes", "healthy,infected")
    out = tmp_path / "bundle"
    call = ("export", working_keras, "--int8", "--data", cells, *names, *contract, "-o", out)
    refused = run_cli(*call)
    assert refused.code == 5 and "--unknown-patients" in refused.err
    ran = run_cli(*call, "--unknown-patients")
    assert ran.code == 0, ran.err
    assert "margin    widened from 1.0% to 60.0%: 5 val cells" in ran.err
    record = read_bundle(out).record
    gate = record["models"]["classifier"]["gate"]
    assert (gate["delta"], gate["delta_asked"]) == (0.6, 0.01)
    assert record["provenance"]["patients"] == "unknown"
    card = (out / "README.md").read_text()
    assert "none may be quoted" in card and "margin is 60.0%" in card
