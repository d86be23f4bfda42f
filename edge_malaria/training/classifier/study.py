"""Training as the studies before this project did it, so that their figures can be compared.

Cells as they are (no augmentation, no other renderings), stopping when the validation loss has not
improved for ``patience`` epochs; Adam, or descent with momentum whose rate falls. What each
architecture's study chose stands in ``published``. The project's own recipe is ``session``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.keras_layers import keras
from edge_malaria.metrics import auc
from edge_malaria.records import Image
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.study_checkpoint import Kept
from edge_malaria.training.classifier.study_plan import StudyPlan, ran_out

VAL_SHARE = 0.2
# What counts as a lower validation loss for a rate that falls when training stalls.
_LEAST_PROGRESS = 1e-4
# Passes behind an interruption draw their order from the seed and from where it was.
_AFTER_STOP = 1_000_003


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
    checkpoint: Path | None = None,
) -> list[dict[str, float]]:
    """Fits ``model`` in place and leaves it with the weights of its lowest validation loss.

    Args:
        model: float32 [N, S, S, 3] in 0-255 -> logit [N, 1].
        train: (uint8 [N, S, S, 3], int64 [N]).
        val: likewise, of other patients.
        plan: how. Weights are drawn when the model is built: seed Keras before that.
        report: called after each epoch with its entry.
        checkpoint: written after each epoch; where it is there already, training goes on from it.
            None for neither.

    Returns:
        Per epoch ``epoch`` (0-based), ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``,
        ``val_auc``, ``learning_rate`` (of its steps) and ``seconds``.

    Raises:
        DataError: the checkpoint is damaged or of another network.
    """
    history: list[dict[str, float]] = []
    model.compile(
        optimizer=_optimizer(plan),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
    )

    began = [time.monotonic()]

    def note(epoch: int, logs: dict[str, float]) -> None:
        entry = {"epoch": float(epoch), **{name: float(value) for name, value in logs.items()}}
        entry["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        entry["val_auc"] = auc(val[1], predict(model, val[0])) or 0.5
        entry["seconds"] = round(time.monotonic() - began[0], 1)
        began[0] = time.monotonic()
        history.append(entry)
        report(entry)

    # Told before the rate falls, and before stopping restores the best weights.
    told = keras.callbacks.LambdaCallback(on_epoch_end=note)
    plateau, steps, stopping = _plateau(plan), _steps(plan), _stopping(plan)
    callbacks = [told, *(each for each in (plateau, steps) if each is not None), stopping]
    if checkpoint is not None:
        callbacks.append(kept := Kept(checkpoint, history, stopping, plateau))
        kept.restore(model)
        if len(history) >= plan.epochs or (history and ran_out(history, plan.patience)):
            model.set_weights(kept.best)
            return history
    keras.utils.set_random_seed(plan.seed + _AFTER_STOP * len(history))
    model.fit(
        train[0],
        train[1].astype(np.float32)[:, None],
        batch_size=plan.batch,
        epochs=plan.epochs,
        initial_epoch=len(history),
        validation_data=(val[0], val[1].astype(np.float32)[:, None]),
        validation_batch_size=256,
        callbacks=callbacks,
        verbose=0,
    )
    return history


def _optimizer(plan: StudyPlan) -> Any:
    if plan.momentum is None:
        return keras.optimizers.Adam(plan.learning_rate)
    return keras.optimizers.SGD(
        plan.learning_rate,
        momentum=plan.momentum,
        nesterov=plan.nesterov,
        weight_decay=plan.weight_decay or None,
    )


def _plateau(plan: StudyPlan) -> Any:
    """Lowers the rate when training stalls; None where the plan does not."""
    fall = plan.fall
    if fall is None or not fall.when_stalled:
        return None
    return keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss", factor=fall.factor, patience=fall.passes, min_delta=_LEAST_PROGRESS
    )


def _steps(plan: StudyPlan) -> Any:
    """Lowers the rate every so many passes; None where the plan does not."""
    fall = plan.fall
    if fall is None or fall.when_stalled:
        return None
    return keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: plan.learning_rate * fall.factor ** (epoch // fall.passes)
    )


def _stopping(plan: StudyPlan) -> Any:
    """When training stops, and which weights stay."""
    return keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=plan.patience, restore_best_weights=True
    )
