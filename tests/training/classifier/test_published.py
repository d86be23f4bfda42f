"""Each architecture's published protocol: what is listed is what trains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_malaria.errors import ConfigError
from edge_malaria.training.architectures.registry import architectures
from edge_malaria.training.classifier.published import PUBLISHED, published
from edge_malaria.training.classifier.study_plan import Fall, StudyPlan

OF_THIS_PROJECT = {"compact", "compact-wide", "micro"}
# Building and compiling these takes ten seconds each.
DEEP = {"densenet121", "senet"}


def test_every_architecture_of_the_literature_has_its_protocol() -> None:
    names = {entry.name for entry in architectures()}
    assert set(PUBLISHED) == names - OF_THIS_PROJECT
    assert all(protocol.source for protocol in PUBLISHED.values())
    assert published("compact") is None


@pytest.mark.parametrize(
    "arch",
    [pytest.param(n, marks=[pytest.mark.long] if n in DEEP else []) for n in sorted(PUBLISHED)],
)
def test_the_protocol_that_is_listed_is_the_one_that_runs(arch: str) -> None:
    from edge_malaria.keras_layers import keras
    from edge_malaria.training.classifier.study import fit_study

    plan = PUBLISHED[arch].plan
    passes = 4 if plan.fall is None else plan.fall.passes + 2
    plan = dataclasses.replace(plan, epochs=passes)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(flat))
    cells = np.repeat(np.array([[[[20]]], [[[230]]]], np.uint8), 4, 0).repeat(4, 1).repeat(4, 2)
    cells = cells.repeat(3, 3)
    labels = np.repeat([0, 1], 4)
    # Validation labels are turned round: the validation loss only rises, so training stalls.
    history = fit_study(model, (cells, labels), (cells, 1 - labels), plan)
    optimizer = model.optimizer
    if plan.momentum is None:
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert len(history) <= plan.patience + 2
    else:
        assert isinstance(optimizer, keras.optimizers.SGD)
        got = (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay)
        assert got == (plan.momentum, plan.nesterov, plan.weight_decay)
        assert len(history) == passes
    rates = [entry["learning_rate"] for entry in history]
    assert rates[0] == pytest.approx(plan.learning_rate)
    if plan.fall is None:
        assert rates == pytest.approx([plan.learning_rate] * len(rates))
    else:
        assert rates[-1] == pytest.approx(plan.learning_rate * plan.fall.factor)


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(ConfigError, match="factor"):
        Fall(1.5, 3)
    with pytest.raises(ConfigError, match="Nesterov"):
        StudyPlan(nesterov=True)
    with pytest.raises(ConfigError, match="momentum in"):
        StudyPlan(momentum=1.0)
