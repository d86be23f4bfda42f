"""The literature's evidence: every architecture has a job, and figures are those of the jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.literature.jobs import BRIEFS
from benchmarks.literature.networks import OWN_SEEDS, collected, jobs, restore


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
    for seed, accuracy in zip(OWN_SEEDS[:2], (0.99, 0.98), strict=True):
        write(tmp_path, f"protocol-own-{seed}", {"seed": seed, "best_val_accuracy": accuracy})
    partly = collected(tmp_path)["sequential3_protocol"]
    assert not partly["met"], "two seeds of three are no median of three"
    write(tmp_path, f"protocol-own-{OWN_SEEDS[2]}", {"seed": 2, "best_val_accuracy": 0.90})
    whole = collected(tmp_path)["sequential3_protocol"]
    assert whole["met"] and whole["median_of_best_val_accuracy"] == 0.98


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
    write(first, "brief-lenet5", {"arch": "lenet5", "int8_bytes": 5})
    write(
        first,
        "protocol-own-1",
        {"split": "own", "seed": 1, "best_val_accuracy": 0.9, "history": [{"epoch": 0.0}]},
    )
    evidence = tmp_path / "literature.json"
    evidence.write_text(json.dumps({"commit": "abc", **collected(first)}))
    write(second, "brief-lenet5", {"arch": "lenet5", "int8_bytes": 7})
    assert sorted(restore(second, evidence)) == ["folds-fast50-3", "protocol-own-1"]
    again = collected(second)
    assert again["sequential3_protocol"]["runs"][0]["commit"] == "abc"
    assert again["architectures"] == [{"arch": "lenet5", "int8_bytes": 7}]
    assert again["not_run"] == collected(first)["not_run"]
    assert restore(second, evidence) == []
    assert restore(second, tmp_path / "none.json") == []
