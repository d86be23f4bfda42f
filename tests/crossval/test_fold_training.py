"""Folds are trained once, with teachers of their own; the command runs, resumes and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.crossval.fold_training import cross_validate
from edge_malaria.crossval.results import FoldResult
from edge_malaria.data.dataset import open_dataset
from edge_malaria.training.classifier.cells import RENDERINGS, load_renderings
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.teachers import Distillation
from tests.cli import run_cli, run_process, validate
from tests.training.classifier.test_training_data import write_dataset

PATIENTS = {f"P{number}": "train" for number in range(18)}


@pytest.mark.long
def test_finished_folds_are_not_trained_again(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path, PATIENTS, per_patient=8))
    cells = load_renderings(dataset, 48, RENDERINGS)
    seen: list[str] = []

    def report(stage: str, entry: dict[str, float]) -> None:
        seen.append(stage)

    def run() -> list[FoldResult]:
        return cross_validate(
            "micro",
            cells,
            [0],
            Recipe(epochs=2, batch=4),
            tmp_path / "run",
            lambda model: lambda batch: predict(model, batch),
            fine_tune_epochs=1,
            report=report,
        )

    first = run()
    assert seen == ["fold 0 float", "fold 0 float", "fold 0 int8"]
    again = run()
    assert len(seen) == 3
    assert np.array_equal(first[0].logits, again[0].logits)
    assert len(first[0].logits) == sum(row.fold == 0 for row in dataset.rows)


@pytest.mark.long
def test_a_folds_teachers_never_see_the_fold_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells carry their patient's fold as a grey level, so what a network was shown is told."""
    from edge_malaria.training.classifier import teachers

    dataset = open_dataset(write_dataset(tmp_path, PATIENTS, per_patient=8))
    cells = load_renderings(dataset, 48, RENDERINGS)
    for part in cells.values():
        for place, row in enumerate(part.rows):
            part.inputs[place, 0, 0] = 100 + int(row.fold or 0)
    shown: list[set[int]] = []
    real_fit = teachers.fit

    def fit(model: object, train: Examples, val: np.ndarray, *rest: object, **more: object) -> Any:
        shown.extend({*np.unique(part[:, 0, 0, 0])} for part in (*train.renderings, val))
        return real_fit(model, train, val, *rest, **more)

    monkeypatch.setattr(teachers, "fit", fit)
    stages: list[str] = []

    def run() -> list[FoldResult]:
        return cross_validate(
            "micro",
            cells,
            [1],
            Recipe(epochs=2, batch=4),
            tmp_path / "run",
            lambda model: lambda batch: predict(model, batch),
            fine_tune_epochs=1,
            report=lambda stage, entry: stages.append(stage),
            distillation=Distillation("micro", Recipe(epochs=12, batch=4, patience=12), (0,)),
        )

    run()
    assert len(shown) == 4  # the three renderings and the inner patients
    assert set().union(*shown) <= {100, 102}
    assert stages.count("fold 1 teacher 101") == 12
    # A fold that was stopped behind its teachers keeps them.
    (tmp_path / "run" / "fold1" / "predictions.npz").unlink()
    shown.clear()
    run()
    assert shown == []


def test_teachers_and_the_studies_protocol_exclude_each_other(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, PATIENTS, per_patient=2)
    options = ["--teachers", "1", "--protocol", "study"]
    refused = run_cli("crossval", archive, "-o", tmp_path / "run", *options)
    assert refused.code == 2
    assert "--teachers" in refused.error


def test_the_command_refuses_folds_that_are_not_there(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, PATIENTS, per_patient=2)
    ran = run_cli("crossval", archive, "-o", tmp_path / "run", "--only", "7")
    assert ran.code == 2
    assert "7" in ran.error


@pytest.mark.long
def test_both_kinds_of_folds_in_parallel_resumed_and_refused(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, {f"P{n}": "train" for n in range(60)}, per_patient=4)
    options = ["--arch", "fast50", "--protocol", "study", "--epochs", "4", "--batch", "16"]
    options += ["--folds", "2", "--by", "both", "--workers", "2", "--exclude-suspect", "--json"]
    run = tmp_path / "run"
    done = run_process("crossval", archive, "-o", run, *options)
    assert done.code == 0, done.err
    validate(done.json, "crossval")
    assert done.json["by_cell"]["folds"] == done.json["folds"] == [0, 1]
    assert done.json["raw_labels"]["n"] == done.json["by_cell"]["raw_labels"]["n"] == 240
    assert (run / "by-cell" / "roc.svg").is_file() and (run / "learning-curves.png").is_file()
    again = run_cli("crossval", archive, "-o", run, *options)
    assert "epoch" not in again.err
    assert again.json == done.json
    other = run_cli("crossval", archive, "-o", run, *options, "--epochs", "3")
    assert other.code == 2
    assert "epochs" in other.error


def _children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True
    )
    lines = found.stdout.decode().splitlines()
    return [int(line.split()[0]) for line in lines if "spawn_main" in line]


@pytest.mark.long
def test_a_killed_workers_fold_is_trained_by_another(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, {f"P{n}": "train" for n in range(60)}, per_patient=4)
    options = ["--arch", "fast50", "--protocol", "study", "--epochs", "6", "--batch", "16"]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "edge_malaria.cli.app", "crossval", str(archive), "-o"]
    command += [str(run), *options, "--folds", "2", "--workers", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        # A worker says its first pass: it is in the middle of its fold.
        heard = []
        for line in child.stderr:
            heard.append(line.decode())
            if b"epoch 1" in line:
                break
        workers = _children(child.pid)
        assert workers, "".join(heard)
        os.kill(workers[0], signal.SIGKILL)
        out, err = child.communicate(timeout=500)
    assert child.returncode == 0, err.decode()
    document = json.loads(out)
    assert document["folds"] == [0, 1]
    assert document["raw_labels"]["n"] == 240
