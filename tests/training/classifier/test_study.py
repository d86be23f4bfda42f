"""The studies' way of training: what is held back, when it stops, what stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.errors import ConfigError
from edge_malaria.training.classifier.study import (
    first_of_each_class,
    fit_study,
    random_of_each_class,
)
from edge_malaria.training.classifier.study_plan import StudyPlan
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
