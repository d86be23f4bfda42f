"""Training: early stopping, best weights kept, resumable, everything recorded in a run directory.

One epoch is a pure function of the state before it and of (seed, epoch), so that a run that was
interrupted and resumed follows the same path as one that was not. The run directory holds
config.json, versions.json, history.json, checkpoint.npz (the state after the last whole epoch),
learning-curve.png/.svg and, at the end, model.keras without optimizer state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DataError
from edge_malaria.keras_layers import keras
from edge_malaria.metrics import auc
from edge_malaria.records import Image
from edge_malaria.training.classifier.checkpoint import State, read_checkpoint, write_checkpoint
from edge_malaria.training.classifier.feed import OwnBatches, batches
from edge_malaria.training.classifier.recipe import Examples, Floats, Recipe
from edge_malaria.training.classifier.step import compiled_step


def predict(model: Any, inputs: Image, batch: int = 512) -> Floats:
    """Logits of ``model`` for uint8 [N, S, S, 3]; float32 [N]."""
    parts = [
        np.asarray(model(inputs[start : start + batch].astype(np.float32), training=False))[:, 0]
        for start in range(0, len(inputs), batch)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def learning_rate_at(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Linear warm-up over the first epoch, then half a cosine down to 1 % of the peak."""
    total = max(1, recipe.epochs * steps_per_epoch - steps_per_epoch)
    if recipe.epochs > 2 and step < steps_per_epoch:
        return recipe.learning_rate * (step + 1) / steps_per_epoch
    done = min(1.0, (step - (steps_per_epoch if recipe.epochs > 2 else 0)) / total)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + float(np.cos(np.pi * done))))


class Trainer:
    """One network being fitted.

    Args:
        model: trained in place; float32 [N, S, S, 3] in 0-255 -> logit.
        recipe: how.
        teachers: networks of the same input that have a share in the targets.
    """

    def __init__(self, model: Any, recipe: Recipe, teachers: Sequence[Any] = ()) -> None:
        self.model = model
        self.average = keras.models.clone_model(model)
        self.average.set_weights(model.get_weights())
        self.recipe = recipe
        self.optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, clipnorm=1.0
        )
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(model.trainable_variables)
        self._step = compiled_step(
            self.model, self.average, self.optimizer, recipe, tuple(teachers)
        )

    def run_epoch(self, examples: Examples | OwnBatches, epoch: int) -> float:
        """One pass; returns the mean loss."""
        recipe = self.recipe
        steps = max(1, len(examples) // recipe.batch)
        share = recipe.bootstrap if epoch >= recipe.bootstrap_from * recipe.epochs else 0.0
        losses = []
        for index, (cells, targets) in enumerate(batches(examples, recipe, epoch)):
            step = epoch * steps + index
            self.optimizer.learning_rate.assign(learning_rate_at(step, steps, recipe))
            # A young average would otherwise remember the random start for whole epochs.
            keep = min(recipe.averaging, (1.0 + step) / (10.0 + step))
            losses.append(self._step(cells, targets, np.float32(share), np.float32(keep)))
        return float(np.mean([float(loss) for loss in losses]))

    def state(self, epoch: int, best: State | None, history: list[dict[str, float]]) -> State:
        """A copy of everything, after ``epoch``."""
        averaged = self.average.get_weights()
        return State(
            epoch=epoch,
            weights=self.model.get_weights(),
            averaged=averaged,
            optimizer=[np.asarray(value) for value in self.optimizer.variables],
            best=best.best if best else averaged,
            best_epoch=best.best_epoch if best else epoch,
            history=history,
        )

    def restore(self, state: State) -> None:
        """Back to ``state``."""
        self.model.set_weights(state.weights)
        self.average.set_weights(state.averaged)
        for variable, value in zip(self.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)


def fit(
    model: Any,
    train: Examples | OwnBatches,
    val_inputs: Image,
    val_labels: NDArray[np.int64],
    recipe: Recipe,
    run: Path | None = None,
    *,
    teachers: Sequence[Any] = (),
    resume: bool = False,
    keep_last: bool = False,
    report: Callable[[dict[str, float]], None] = lambda entry: None,
) -> tuple[Any, list[dict[str, float]]]:
    """Fits ``model`` and returns (model with the best averaged weights, history).

    Args:
        model: a fresh network; its weights are changed.
        train: what to fit to; validation patients are not among it.
        val_inputs: uint8 [N, S, S, 3], decide the best epoch.
        val_labels: int64 [N], theirs.
        recipe: how.
        run: directory for checkpoints; None keeps nothing.
        teachers: see ``Trainer``.
        resume: continue from the directory's checkpoint where there is one.
        keep_last: take the averaged weights of the last epoch, whatever validation says.
        report: called after each epoch with its history entry.

    Raises:
        DataError: the checkpoint is damaged or of another network.
    """
    trainer = Trainer(model, recipe, teachers)
    state: State | None = None
    history: list[dict[str, float]] = []
    checkpoint = run / "checkpoint.npz" if run else None
    if resume and checkpoint is not None and checkpoint.is_file():
        state = read_checkpoint(checkpoint)
        try:
            trainer.restore(state)
        except ValueError as error:
            raise DataError(f"{checkpoint} is of another network or recipe.") from error
        history = state.history
    start = state.epoch + 1 if state else 0
    for epoch in range(start, recipe.epochs):
        if state and epoch - state.best_epoch > recipe.patience:
            break
        began = time.monotonic()
        loss = trainer.run_epoch(train, epoch)
        entry = _validated(trainer.average, val_inputs, val_labels)
        entry |= {"epoch": epoch, "loss": loss, "seconds": round(time.monotonic() - began, 2)}
        history.append(entry)
        better = state is None or entry["val_auc"] > history[state.best_epoch]["val_auc"]
        state = trainer.state(epoch, None if better else state, history)
        if checkpoint is not None:
            write_checkpoint(checkpoint, state)
        report(entry)
    if state is not None:
        model.set_weights(state.averaged if keep_last else state.best)
    return model, history


def _validated(model: Any, inputs: Image, labels: NDArray[np.int64]) -> dict[str, float]:
    logits = predict(model, inputs)
    return {
        "val_auc": auc(labels, logits) or 0.5,
        "val_accuracy": float(np.mean((logits >= 0) == (labels == 1))),
    }
