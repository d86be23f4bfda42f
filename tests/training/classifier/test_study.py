"""The studies' way of training: what is held back, when it stops, what stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.errors import ConfigError, DataError
from edge_malaria.training.classifier.study import (
    first_of_each_class,
    fit_study,
    random_of_each_class,
)
from edge_malaria.training.classifier.study_plan import Fall, StudyPlan, stalled
from tests.training.classifier.test_training_data import cell

LABELS = st.lists(st.integers(0, 1), min_size=1, max_size=60)


@given(LABELS)
def test_the_first_fifth_of_each_class_is_held_back(labels: list[int]) -> None:
    truth = np.array(labels)
    held = first_of_each_class(truth)
    for label in (0, 1):
        own = held[truth == label]
        assert own.sum() == len(own) // 5
        assert own[: int(own.sum())].all()


@given(LABELS, st.integers(0, 5))
def test_a_random_fifth_is_as_large_and_comes_again(labels: list[int], seed: int) -> None:
    truth = np.array(labels)
    held = random_of_each_class(truth, seed)
    assert np.array_equal(held, random_of_each_class(truth, seed))
    for label in (0, 1):
        assert held[truth == label].sum() == (truth == label).sum() // 5


def test_plans_that_cannot_train_are_refused() -> None:
    with pytest.raises(ConfigError, match="rate"):
        StudyPlan(learning_rate=float("nan"))
    with pytest.raises(ConfigError, match="batch"):
        StudyPlan(batch=0)


@pytest.mark.slow
def test_it_stops_early_and_keeps_the_best_weights() -> None:
    from edge_malaria.keras_layers import keras
    from edge_malaria.training.architectures import build
    from edge_malaria.training.classifier.fit import predict

    cells = np.stack([cell(n, bool(n % 2), 16)[:16, :16] for n in range(64)])
    labels = np.arange(64) % 2
    keras.utils.set_random_seed(3)
    model = build("lenet5", 16)
    told: list[float] = []
    plan = StudyPlan(epochs=12, batch=8, patience=2, learning_rate=3e-3)
    # Validation labels are turned round: the better it fits, the worse its validation loss.
    history = fit_study(
        model,
        (cells[:48], labels[:48]),
        (cells[48:], 1 - labels[48:]),
        plan,
        report=lambda entry: told.append(entry["epoch"]),
    )
    losses = [entry["val_loss"] for entry in history]
    best = int(np.argmin(losses))
    assert len(history) == best + 3 < 12
    assert told == [float(index) for index in range(len(history))]
    logits = predict(model, cells[48:]).astype(np.float64)
    truth = 1 - labels[48:]
    loss = np.mean(np.logaddexp(0.0, logits) - truth * logits)
    assert loss == pytest.approx(losses[best], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fall", "momentum"),
    [(None, None), (Fall(0.5, 1, when_stalled=True), 0.9), (Fall(0.5, 2), 0.9)],
)
def test_a_stopped_training_goes_on_after_its_last_whole_pass(
    tmp_path: Path, fall: Fall | None, momentum: float | None
) -> None:
    from edge_malaria.training.architectures import build
    from edge_malaria.training.classifier.fit import predict

    cells = np.stack([cell(n, bool(n % 2), 16)[:16, :16] for n in range(64)])
    train = cells[:48], np.arange(48) % 2
    turned = cells[48:], 1 - np.arange(48, 64) % 2
    plan = StudyPlan(12, 8, 3, 3e-3, momentum=momentum, fall=fall)
    path = tmp_path / "state.npz"

    def stop_in_third(entry: dict[str, float]) -> None:
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_study(build("lenet5", 16), train, turned, plan, stop_in_third, path)
    told: list[float] = []
    model = build("lenet5", 16)
    history = fit_study(model, train, turned, plan, lambda one: told.append(one["epoch"]), path)
    assert told == [float(index) for index in range(2, len(history))]
    assert [entry["epoch"] for entry in history] == [float(n) for n in range(len(history))]
    losses = [entry["val_loss"] for entry in history]
    best = int(np.argmin(losses))
    assert len(history) == min(best + 4, 12), "patience counts the passes before the stop as well"
    rates = [entry["learning_rate"] for entry in history]
    assert rates == pytest.approx([rate_at(n, plan, losses) for n in range(len(history))], rel=1e-5)
    logits = predict(model, turned[0]).astype(np.float64)
    loss = np.mean(np.logaddexp(0.0, logits) - turned[1] * logits)
    assert loss == pytest.approx(losses[best], rel=1e-3)
    # Asked once more, it has nothing to do, and gives the same network again.
    again = build("lenet5", 16)
    assert fit_study(again, train, turned, plan, stop_in_third, path) == history
    assert np.array_equal(predict(again, turned[0]), predict(model, turned[0]))
    with pytest.raises(DataError, match="another network"):
        other = dataclasses.replace(plan, momentum=None if momentum else 0.5, fall=None)
        fit_study(build("micro", 16), train, turned, other, lambda one: None, path)


def rate_at(epoch: int, plan: StudyPlan, losses: list[float]) -> float:
    """What the plan says of the rate of a pass, counted anew from all losses before it."""
    if plan.fall is None:
        return plan.learning_rate
    falls = epoch // plan.fall.passes
    if plan.fall.when_stalled:
        before = [{"val_loss": loss} for loss in losses[:epoch]]
        falls = sum(
            stalled(before[:count], plan.fall.passes, 1e-4)[1] == 0
            and before[count - 1]["val_loss"] >= min(losses[: count - 1], default=np.inf) - 1e-4
            for count in range(1, epoch + 1)
        )
    return plan.learning_rate * plan.fall.factor**falls
