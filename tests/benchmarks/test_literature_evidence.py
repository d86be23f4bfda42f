"""The literature's evidence: every architecture has a job, and figures are those of the jobs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.literature.jobs import BRIEFS, state_of
from benchmarks.literature.networks import OWN_SEEDS, collected, cut_short, jobs, restore

# Validation losses of a training that patience ended.
ENDED = (0.3, 0.2, 0.25, 0.21)


@pytest.mark.slow
def test_every_architecture_has_a_job() -> None:
    from edge_malaria.training.architectures.registry import architectures

    assert {brief.arch for brief in BRIEFS} == {entry.name for entry in architectures()}
    assert len(jobs()) == len(set(jobs()))


def write(run: Path, name: str, document: dict[str, object]) -> None:
    (run / "jobs").mkdir(parents=True, exist_ok=True)
    (run / "jobs" / f"{name}.json").write_text(json.dumps(document))


def test_what_is_missing_is_named_and_never_met(tmp_path: Path) -> None:
    assert list(collected(tmp_path)["not_run"]) == jobs()
    reasons = {"brief-vgg16": "stopped after 60 minutes"}
    (tmp_path / "failed.json").write_text(json.dumps(reasons))
    assert collected(tmp_path)["not_run"]["brief-vgg16"] == reasons["brief-vgg16"]
    for seed, accuracy in zip(OWN_SEEDS[:-1], (0.99, 0.98, 0.97, 0.93), strict=True):
        write(tmp_path, f"protocol-own-{seed}", own_run(seed, accuracy))
    partly = collected(tmp_path)["sequential3_protocol"]
    assert not partly["met"], "four seeds of five are no median of five"
    last = f"protocol-own-{OWN_SEEDS[-1]}"
    write(tmp_path, last, own_run(4, 0.90, [0.3, 0.2, 0.1]))
    short = collected(tmp_path)
    assert not short["sequential3_protocol"]["met"], "it might have gone on getting better"
    assert short["not_run"][last] == "cut short after 3 passes"
    write(tmp_path, last, own_run(4, 0.90))
    whole = collected(tmp_path)["sequential3_protocol"]
    assert whole["met"] and whole["median_of_best_val_accuracy"] == 0.97


def test_a_network_of_an_older_plan_is_named(tmp_path: Path) -> None:
    today = dataclasses.asdict(BRIEFS[0])
    write(tmp_path, "brief-lenet5", {**today, "rate": 2 * today["rate"]})
    found = collected(tmp_path)
    assert found["not_run"]["brief-lenet5"] == "trained by an older plan"
    assert len(found["architectures"]) == 1
    today.pop("fall")  # as rows were before some plans had one
    write(tmp_path, "brief-lenet5", today)
    assert "brief-lenet5" not in collected(tmp_path)["not_run"]


def own_run(seed: int, accuracy: float, losses: Sequence[float] = ENDED) -> dict[str, object]:
    history = [{"epoch": float(n), "val_loss": loss} for n, loss in enumerate(losses)]
    return {"split": "own", "seed": seed, "best_val_accuracy": accuracy, "history": history}


@pytest.mark.parametrize(
    ("losses", "short"),
    [
        ([0.4, 0.2, 0.3, 0.3], False),
        ([0.4, 0.2, 0.2, 0.2], False),
        ([0.4, 0.3, 0.2, 0.3], True),
        ([1.0 - index / 100 for index in range(20)], False),
        ([], True),
    ],
)
def test_a_protocol_ends_by_patience_or_with_its_last_pass(
    losses: list[float], short: bool
) -> None:
    assert cut_short(own_run(0, 0.9, losses)) is short


@pytest.mark.slow
def test_a_changed_plan_starts_its_training_afresh(tmp_path: Path) -> None:
    brief = BRIEFS[0]
    cells = SimpleNamespace(inputs=np.zeros((4, 8, 8, 3), np.uint8))
    paths = {
        state_of("brief", tmp_path, plan, cells)
        for plan in (brief.plan(), brief.plan(3), dataclasses.replace(brief, batch=8).plan())
    }
    assert len(paths) == 3
    fewer = SimpleNamespace(inputs=np.zeros((3, 8, 8, 3), np.uint8))
    assert state_of("brief", tmp_path, brief.plan(), fewer) not in paths
    assert state_of("brief", tmp_path, brief.plan(), cells) in paths


def test_folds_are_summed_up(tmp_path: Path) -> None:
    keys = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "auc")
    for fold, value in ((0, 0.9), (3, 0.8)):
        row = {"fold": fold, **dict.fromkeys(keys, value)}
        write(tmp_path, f"folds-fast50-{fold}", {"per_fold": [row]})
    found = collected(tmp_path)["five_fold_by_patient"]["fast50"]
    assert found["folds"] == [0, 3]
    assert found["mean_sd"]["auc"]["mean"] == pytest.approx(0.85)
    assert "folds-fast50-1" in collected(tmp_path)["not_run"]


def test_jobs_that_the_evidence_holds_are_kept_with_their_commit(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    keys = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "auc")
    write(first, "folds-fast50-3", {"per_fold": [{"fold": 3, **dict.fromkeys(keys, 0.9)}]})
    write(first, "brief-lenet5", {**dataclasses.asdict(BRIEFS[0]), "int8_bytes": 5})
    write(
        first,
        "protocol-own-1",
        own_run(1, 0.9),
    )
    evidence = tmp_path / "literature.json"
    evidence.write_text(json.dumps({"commit": "abc", **collected(first)}))
    newer = {**dataclasses.asdict(BRIEFS[0]), "int8_bytes": 7}
    write(second, "brief-lenet5", newer)
    assert sorted(restore(second, evidence)) == ["folds-fast50-3", "protocol-own-1"]
    again = collected(second)
    assert again["sequential3_protocol"]["runs"][0]["commit"] == "abc"
    assert again["architectures"] == [newer]
    assert again["not_run"] == collected(first)["not_run"]
    assert restore(second, evidence) == []
    assert restore(second, tmp_path / "none.json") == []
