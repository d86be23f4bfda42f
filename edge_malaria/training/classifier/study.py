"""Training as the studies before this project did it, so that their figures can be compared.

Adam, small batches, cells as they are (no augmentation, no other renderings), stopping when the
validation loss has not improved for ``patience`` epochs. The project's own recipe is ``session``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ConfigError
from edge_malaria.keras_layers import keras
from edge_malaria.metrics import auc
from edge_malaria.records import Image
from edge_malaria.training.classifier.fit import predict

VAL_SHARE = 0.2


@dataclass(frozen=True)
class StudyPlan:
    """How a network of a study is trained; the defaults are those of ``sequential3``.

    Attributes:
        epochs: at most so many passes.
        batch: cells a step.
        patience: epochs without a lower validation loss before stopping.
        learning_rate: Adam's, constant (1e-3 is Keras's own default).
        seed: decides weights, order and dropout.
    """

    epochs: int = 20
    batch: int = 16
    patience: int = 2
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.epochs >= 1 and self.batch >= 1 and self.patience >= 1):
            raise ConfigError("expected epochs, batch and patience >= 1.")
        if not self.learning_rate > 0:
            raise ConfigError(f"expected a learning rate > 0, got {self.learning_rate}.")


def first_of_each_class(labels: NDArray[np.int64], share: float = VAL_SHARE) -> NDArray[np.bool_]:
    """What Keras's ``validation_split`` holds back: the first ``share`` of each class, bool [N].

    Args:
        labels: int64 [N] in the order of sorted file names within each class. File names begin
            with the slide, so that this is nearly a split by slide.
        share: of each class, rounded down.
    """
    chosen = np.zeros(len(labels), np.bool_)
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        chosen[own[: int(share * len(own))]] = True
    return chosen


def random_of_each_class(
    labels: NDArray[np.int64], seed: int, share: float = VAL_SHARE
) -> NDArray[np.bool_]:
    """A random ``share`` of each class, bool [N]; patients stand on both sides."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), np.bool_)
    for label in (0, 1):
        own = rng.permutation(np.flatnonzero(labels == label))
        chosen[own[: int(share * len(own))]] = True
    return chosen


def fit_study(
    model: Any,
    train: tuple[Image, NDArray[np.int64]],
    val: tuple[Image, NDArray[np.int64]],
    plan: StudyPlan,
    report: Callable[[dict[str, float]], None] = lambda entry: None,
) -> list[dict[str, float]]:
    """Fits ``model`` in place and leaves it with the weights of its lowest validation loss.

    Args:
        model: float32 [N, S, S, 3] in 0-255 -> logit [N, 1].
        train: (uint8 [N, S, S, 3], int64 [N]).
        val: likewise, of other patients.
        plan: how. Weights are drawn when the model is built: seed Keras before that.
        report: called after each epoch with its entry.

    Returns:
        Per epoch ``epoch`` (0-based), ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy`` and
        ``val_auc``.
    """
    history: list[dict[str, float]] = []
    model.compile(
        optimizer=keras.optimizers.Adam(plan.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
    )

    def note(epoch: int, logs: dict[str, float]) -> None:
        entry = {"epoch": float(epoch), **{name: float(value) for name, value in logs.items()}}
        entry["val_auc"] = auc(val[1], predict(model, val[0])) or 0.5
        history.append(entry)
        report(entry)

    # Told before stopping restores the best weights.
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=note),
        keras.callbacks.EarlyStopping(
            monitor="val_loss", patience=plan.patience, restore_best_weights=True
        ),
    ]
    keras.utils.set_random_seed(plan.seed)
    model.fit(
        train[0],
        train[1].astype(np.float32)[:, None],
        batch_size=plan.batch,
        epochs=plan.epochs,
        validation_data=(val[0], val[1].astype(np.float32)[:, None]),
        validation_batch_size=256,
        callbacks=callbacks,
        verbose=0,
    )
    return history
