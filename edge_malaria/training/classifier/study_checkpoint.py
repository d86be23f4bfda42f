"""Where a training by a study's protocol stands, so that one that was stopped goes on from there.

Weights, the optimizer's state and the history are on disk after each pass. What early stopping and
a rate that falls when training stalls have seen follows from the history. Order and dropout of the
passes behind an interruption are drawn anew, so that their figures differ a little from those of an
undisturbed run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_malaria.errors import DataError
from edge_malaria.keras_layers import keras
from edge_malaria.training.classifier.checkpoint import State, read_checkpoint, write_checkpoint
from edge_malaria.training.classifier.study_plan import lowest, stalled

History = list[dict[str, float]]


class Kept(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the state after each pass; the last of a fit's callbacks.

    Args:
        path: of the checkpoint.
        history: entries of the passes so far, kept by the fit.
        stopping: its early stopping.
        plateau: what lowers its rate when training stalls; None for nothing.
    """

    def __init__(self, path: Path, history: History, stopping: Any, plateau: Any = None) -> None:
        super().__init__()
        self.path, self.history = path, history
        self.stopping, self.plateau = stopping, plateau
        self.best: list[Any] = []

    def restore(self, model: Any) -> None:
        """Puts ``model`` (compiled) and the history back to where the checkpoint left them.

        Raises:
            DataError: damaged, or of another network.
        """
        if not self.path.is_file():
            return
        state = read_checkpoint(self.path)
        model.optimizer.build(model.trainable_variables)
        variables = model.optimizer.variables
        shapes = [tuple(value.shape) for value in state.optimizer]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise DataError(f"{self.path} is of another network or plan: delete it to start again.")
        model.set_weights(state.weights)
        for variable, value in zip(variables, state.optimizer, strict=True):
            variable.assign(value)
        self.history += state.history
        self.best = state.best

    def on_train_begin(self, logs: Any = None) -> None:
        """Tells early stopping and the rate what they have seen; each has just forgotten it."""
        if not self.history:
            return
        best = lowest(self.history)
        self.stopping.best = self.history[best]["val_loss"]
        self.stopping.best_epoch = best
        self.stopping.best_weights = self.best
        self.stopping.wait = len(self.history) - 1 - best
        if self.plateau is not None:
            seen = stalled(self.history, self.plateau.patience, self.plateau.min_delta)
            self.plateau.best, self.plateau.wait = seen

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the checkpoint whole or not at all."""
        convert = keras.ops.convert_to_numpy
        best = self.stopping.best_weights
        state = State(
            epoch=epoch,
            weights=self.model.get_weights(),
            averaged=[],
            optimizer=[convert(variable) for variable in self.model.optimizer.variables],
            best=list(best) if best is not None else [],
            best_epoch=lowest(self.history),
            history=list(self.history),
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self.path, state)
