"""How a study trains its network, as a record: ``study`` does it, ``published`` lists them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_malaria.errors import ConfigError


@dataclass(frozen=True)
class Fall:
    """When the learning rate falls.

    Attributes:
        factor: what it is multiplied by, 0-1.
        passes: after so many passes, again and again.
        when_stalled: only after so many passes without a lower validation loss.
    """

    factor: float
    passes: int
    when_stalled: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.factor < 1 and self.passes >= 1):
            raise ConfigError(
                f"expected a factor in (0, 1) and passes >= 1, got {self.factor}, {self.passes}."
            )


@dataclass(frozen=True)
class StudyPlan:
    """How a network of a study is trained; the defaults are those of ``sequential3``.

    Attributes:
        epochs: at most so many passes.
        batch: cells a step.
        patience: epochs without a lower validation loss before stopping.
        learning_rate: the first one (1e-3 is Keras's own default for Adam).
        momentum: of gradient descent; None trains with Adam.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: decoupled, of gradient descent.
        fall: how the rate falls; None: it stays.
        seed: decides weights, order and dropout.
    """

    epochs: int = 20
    batch: int = 16
    patience: int = 2
    learning_rate: float = 1e-3
    momentum: float | None = None
    nesterov: bool = False
    weight_decay: float = 0.0
    fall: Fall | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.epochs >= 1 and self.batch >= 1 and self.patience >= 1):
            raise ConfigError("expected epochs, batch and patience >= 1.")
        if not self.learning_rate > 0:
            raise ConfigError(f"expected a learning rate > 0, got {self.learning_rate}.")
        if self.momentum is None and (self.nesterov or self.weight_decay):
            raise ConfigError("Adam takes neither Nesterov's momentum nor weight decay here.")
        if not (self.weight_decay >= 0 and (self.momentum is None or 0 <= self.momentum < 1)):
            raise ConfigError("expected a weight decay >= 0 and a momentum in [0, 1).")


def lowest(history: Sequence[dict[str, float]]) -> int:
    """Which entry has the first lowest validation loss; 0 for an empty history."""
    return min(range(len(history)), key=lambda index: history[index]["val_loss"], default=0)


def ran_out(history: Sequence[dict[str, float]], patience: int) -> bool:
    """Whether the last ``patience`` passes brought no lower validation loss."""
    return len(history) - 1 - lowest(history) >= patience


def stalled(history: Sequence[dict[str, float]], passes: int, least: float) -> tuple[float, int]:
    """What a rate that falls when training stalls has seen: (best loss, passes since)."""
    best, waited = math.inf, 0
    for entry in history:
        if entry["val_loss"] < best - least:
            best, waited = entry["val_loss"], 0
        else:
            waited += 1
            waited = 0 if waited >= passes else waited
    return best, waited
