"""``train``, ``prune`` and ``crossval`` as a user runs them, on a small drawn data set."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria.keras_layers import has_ranges, load_model
from edge_malaria.training.classifier.checkpoint import read_checkpoint
from tests.cli import run_cli, run_process, validate
from tests.training.classifier.test_training_data import SPLITS, write_dataset

FOLDED = {f"P{number}": ("val" if number % 6 == 5 else "train") for number in range(18)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.long
def test_train_then_prune(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, {**SPLITS, "E": "val"}, per_patient=96)
    run = tmp_path / "run"
    options = ["--arch", "micro", "--epochs", "6", "--fine-tune", "1", "--batch", "8"]
    first = run_process("train", archive, "-o", run, *options, "--exclude-suspect", "--json")
    assert first.code == 0, first.err
    document = first.json
    validate(document, "train")
    assert document["val"]["n"] >= document["val"]["without_suspect_labels"]["n"] > 0
    assert has_ranges(load_model(Path(document["model"])))
    again = run_cli("train", archive, "-o", run, *options)
    assert again.code == 2
    assert "--resume or --force" in again.error
    small = tmp_path / "small.keras"
    options = ["--criterion", "l1", "--keep", "0.6", "--rounds", "1", "--epochs", "1"]
    arguments = (document["model"], "--data", archive, "-o", small)
    pruned = run_process("prune", *arguments, *options, "--fine-tune", "1", "--json")
    assert pruned.code == 0, pruned.err
    sizes = pruned.json
    validate(sizes, "prune")
    assert sizes["after"]["macs"] <= 0.6 * sizes["before"]["macs"]
    assert has_ranges(load_model(small))
    assert small.with_suffix(".json").is_file()


@pytest.mark.long
def test_crossval_reports_int8(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, FOLDED, per_patient=24)
    options = [
        "--arch",
        "micro",
        "--epochs",
        "4",
        "--fine-tune",
        "1",
        "--only",
        "0",
        "--batch",
        "8",
    ]
    done = run_cli("crossval", archive, "-o", tmp_path / "cv", *options, "--json")
    assert done.code == 0, done.err
    document = done.json
    validate(document, "crossval")
    assert document["folds"] == [0]
    assert document["raw_labels"]["n"] == 6 * 24
    assert (tmp_path / "cv" / "crossval.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["train", "absent.zip", "-o", "run"], 5, "does not exist"),
        (["train", "cells.zip", "-o", "run", "--arch", "vast"], 2, "unknown architecture"),
        (["prune", "absent.keras", "--data", "cells.zip", "-o", "x.keras"], 5, "does not exist"),
        (["prune", "m", "--data", "cells.zip", "-o", "x.onnx"], 2, "ends in .keras"),
        (["prune", "m", "--data", "d", "-o", "x.keras", "--keep", "2"], 2, "expected a share"),
    ],
)
def test_wrong_calls_are_one_line_and_leave_nothing(
    tmp_path: Path, arguments: list[str], code: int, word: str
) -> None:
    write_dataset(tmp_path, SPLITS, per_patient=2)
    before = sorted(tmp_path.iterdir())
    done = run_cli(*arguments, cwd=tmp_path)
    assert done.code == code, done.err
    assert word in done.error
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "cache"] == before


@pytest.mark.long
def test_train_from_another_body_with_whitened_input(tmp_path: Path) -> None:
    from edge_malaria.training.architectures import build

    body = tmp_path / "body.keras"
    build("micro", 60).save(body)
    archive = write_dataset(tmp_path, {**SPLITS, "E": "val"}, per_patient=96)
    options = ["--arch", "micro", "--epochs", "6", "--fine-tune", "1", "--batch", "8"]
    start = ["--weights", body, "--preprocess", "whiten"]
    size = ["--input-size", "median"]
    done = run_cli("train", archive, "-o", tmp_path / "run", *options, *start, *size, "--json")
    assert done.code == 0, done.err
    validate(done.json, "train")
    model = load_model(Path(done.json["model"]))
    assert model.input.shape == (None, 60, 60, 3)
    assert has_ranges(model)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["start"]["preprocess"] == "whiten"
    both = run_cli("train", archive, "-o", tmp_path / "x", *options, "--unfreeze", "1")
    assert both.code == 2 and "--freeze-body" in both.error


@pytest.mark.long
def test_the_published_recipe_is_named_and_runs(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, {**SPLITS, "E": "val"}, per_patient=96)
    small = ["--arch", "sequential3", "--input-size", "24", "--epochs", "8"]
    run = tmp_path / "run"
    done = run_cli("train", archive, "-o", run, *small, "--recipe", "own", "--json")
    assert done.code == 0, done.err
    validate(done.json, "train")
    assert done.json["int8_ranges"] == "measured at export"
    assert "batches of 16" in done.err
    assert not has_ranges(load_model(Path(done.json["model"])))
    config = json.loads((run / "config.json").read_text())
    assert (config["protocol"], config["recipe"]["batch"]) == ("published", 16)
    assert [entry["epoch"] for entry in json.loads((run / "history.json").read_text())["float"]]
    record = json.loads((run / "model.json").read_text())
    assert record["provenance"]["protocol"] == "published"
    other = run_cli("train", archive, "-o", tmp_path / "r2", *small, "--teacher", "missing.keras")
    assert "--recipe own" in other.err
    for option in (["--weights", "imagenet"], ["--teacher", "t.keras"]):
        refused = run_cli(
            "train", archive, "-o", run, *small, "--recipe", "own", "--force", *option
        )
        assert refused.code == 2 and option[0] in refused.error


@pytest.mark.long
def test_a_published_recipe_goes_on_after_a_kill(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, {**SPLITS, "E": "val"}, per_patient=96)
    run, small = tmp_path / "run", ("--arch", "sequential3", "--input-size", "24")
    words = ["train", archive, "-o", run, *small, "--recipe", "own", "--json"]
    command = [sys.executable, "-m", "edge_malaria.cli.app", *map(str, words)]
    with subprocess.Popen([*command, "--epochs", "8"], stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 300
        while not (run / "checkpoint.npz").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
    before = read_checkpoint(run / "checkpoint.npz").history
    other = run_cli(*words, "--epochs", "9", "--resume")
    assert other.code != 0 and "recipe" in other.error
    done = run_cli(*words, "--epochs", "8", "--resume")
    assert done.code == 0, done.err
    history = json.loads((run / "history.json").read_text())["float"]
    assert history[: len(before)] == before
    assert [entry["epoch"] for entry in history] == [float(n) for n in range(len(history))]
