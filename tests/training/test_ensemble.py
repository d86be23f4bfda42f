"""Ensembles: the joined network says what its members' calibrated answers average to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.data.dataset import Row
from edge_malaria.errors import ModelFileError, ModelShapeError, UsageError
from edge_malaria.keras_layers import keras, load_model
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.ensemble import (
    Member,
    Space,
    blended,
    build_ensemble,
    choose_weights,
    combine,
    load_members,
    log_loss,
    member_chances,
)
from tests.cli import run_cli, run_process, validate
from tests.training.classifier.test_training_data import SPLITS, write_dataset


def cells_of(count: int = 64, side: int = 16) -> CellSet:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    inputs = rng.integers(0, 120, (count, side, side, 3)) + labels[:, None, None, None] * 90
    rows = tuple(
        Row(f"{i}.png", int(label), patient_id=f"P{i % 9}") for i, label in enumerate(labels)
    )
    return CellSet(inputs.astype(np.uint8), labels.astype(np.int64), rows)


def rising(arch: str, cells: CellSet, seed: int) -> object:
    """A random network, its last layer turned so that it rises with the label."""
    keras.utils.set_random_seed(seed)
    model = build(arch, int(cells.inputs.shape[1]))
    logits = predict(model, cells.inputs)
    apart = float(logits[cells.labels == 1].mean() - logits[cells.labels == 0].mean())
    kernel, bias = model.layers[-1].get_weights()
    gain = 3.0 / apart
    model.layers[-1].set_weights([kernel * gain, bias - gain * float(logits.mean())])
    return model


@pytest.fixture(scope="module")
def cells() -> CellSet:
    return cells_of()


@pytest.fixture(scope="module")
def members(cells: CellSet) -> list[Member]:
    return [
        Member("a", rising("fast50", cells, 1), 1.4, -0.3),
        Member("b", rising("liang16", cells, 2), 0.6, 0.5),
    ]


@pytest.mark.parametrize("space", ["logit", "probability"])
def test_joined_network_is_the_average_of_calibrated_answers(
    space: Space, members: list[Member], cells: CellSet, tmp_path: Path
) -> None:
    weights = np.array([0.3, 0.7])
    joined = combine(members, weights, space, "both")
    chances = np.column_stack(
        [
            probability(predict(m.model, cells.inputs), m.temperature, m.bias)  # type: ignore[arg-type]
            for m in members
        ]
    )
    expected = blended(chances, weights, space)
    found = probability(predict(joined, cells.inputs), 1.0, 0.0)
    assert found == pytest.approx(expected, abs=1e-4)
    names = [layer.name for layer in joined.layers]
    assert len(names) == len(set(names))
    assert {"m0_logit", "m1_logit"} <= set(names)
    path = tmp_path / "both.keras"
    joined.save(path)
    assert np.array_equal(predict(load_model(path), cells.inputs), predict(joined, cells.inputs))


def test_members_stay_as_they_were(members: list[Member], cells: CellSet) -> None:
    before = predict(members[0].model, cells.inputs)
    joined = combine(members, np.array([0.5, 0.5]), "logit", "both")
    joined.get_layer("logit").set_weights([np.ones((2, 1)), np.zeros(1)])
    assert np.array_equal(predict(members[0].model, cells.inputs), before)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["logit", "probability"]), st.integers(2, 4))
def test_chosen_weights_are_shares_and_no_worse_than_the_mean(
    seed: int, space: Space, count: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 200)
    noise = rng.uniform(0.5, 4.0, count)
    odds = 2.0 * (2 * labels - 1)[:, None] + rng.normal(0, 1, (200, count)) * noise
    chances = 1.0 / (1.0 + np.exp(-odds))
    weights = choose_weights(chances, labels, space)
    assert weights.sum() == pytest.approx(1.0) and (weights >= 0).all()
    mean = np.full(count, 1.0 / count)
    chosen = log_loss(blended(chances, weights, space), labels)
    assert chosen <= log_loss(blended(chances, mean, space), labels) + 1e-4


def test_a_useless_member_loses_its_weight() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 400)
    good = np.where(labels == 1, 0.9, 0.1)
    weights = choose_weights(np.column_stack([good, rng.uniform(0.01, 0.99, 400)]), labels, "logit")
    assert weights[0] > 0.85


def test_wrong_members_are_refused(cells: CellSet, tmp_path: Path) -> None:
    one, other = tmp_path / "one.keras", tmp_path / "other.keras"
    build("fast50", 16).save(one)
    build("fast50", 24).save(other)
    with pytest.raises(UsageError, match="at least 2"):
        load_members([one])
    with pytest.raises(ModelShapeError, match="--input-size"):
        load_members([one, other])
    with pytest.raises(ModelFileError, match="does not exist"):
        load_members([one, tmp_path / "absent.keras"])
    assert [member.name.endswith("#2") for member in load_members([one, one])] == [False, True]


def test_built_ensemble_reports_members_and_itself(cells: CellSet, tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2, 3):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        paths.append(folder / "model.keras")
        rising("fast50", cells, seed).save(paths[-1])  # type: ignore[attr-defined]
    made = build_ensemble(paths, cells, "weighted", "probability")
    figures = dict(made.figures)
    assert list(figures)[:2] == ["run1/model", "run2/model"]
    assert sum(weight for _, weight in made.weights) == pytest.approx(1.0)
    worst = max(figures[name]["val_log_loss"] for name, _ in made.weights)
    assert figures["ensemble"]["val_log_loss"] <= worst
    chances = member_chances(load_members(paths, cells), cells)
    expected = blended(chances, np.array([w for _, w in made.weights]), "probability")
    assert probability(predict(made.model, cells.inputs), 1.0, 0.0) == pytest.approx(
        expected, abs=1e-4
    )


@pytest.mark.long
@pytest.mark.slow
def test_ensemble_as_a_user_makes_it(tmp_path: Path) -> None:
    archive = write_dataset(tmp_path, {**SPLITS, "E": "val"}, per_patient=12)
    from edge_malaria.data.dataset import open_dataset
    from edge_malaria.training.classifier.cells import load_renderings

    val = load_renderings(open_dataset(archive).select("val"), 16)["full"]
    for name, seed in (("a", 1), ("b", 2)):
        rising("fast50", val, seed).save(tmp_path / f"{name}.keras")  # type: ignore[attr-defined]
    files = (tmp_path / "a.keras", tmp_path / "b.keras")
    out = tmp_path / "both.keras"
    done = run_process("ensemble", *files, "--data", archive, "-o", out, "--json")
    assert done.code == 0, done.err
    validate(done.json, "ensemble")
    assert out.is_file() and out.with_suffix(".json").is_file()
    again = run_cli("ensemble", *files, "--data", archive, "-o", out)
    assert again.code == 2 and "--force" in again.error
