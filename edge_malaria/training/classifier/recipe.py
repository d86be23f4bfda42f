"""How a network is trained, and what it is fitted to."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria import __version__
from edge_malaria.errors import ConfigError
from edge_malaria.files import write_json
from edge_malaria.keras_layers import keras
from edge_malaria.records import Image
from edge_malaria.training.classifier.augment import Augmentation

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs, batch: at most so many passes; cells a step.
        learning_rate: peak, after one epoch of warm-up, then a half cosine to 1 %.
        weight_decay: AdamW's.
        label_smoothing: targets are moved this much towards 0.5.
        bootstrap: share of the target that is the averaged network's own opinion, after
            ``bootstrap_from`` of the epochs (soft bootstrapping, Reed et al. 2015,
            arXiv 1412.6596): suspect labels pull less.
        teacher_share: share of the target that is the teachers' mean probability for the very view
            that the network sees (Hinton et al. 2015, arXiv 1503.02531); counts where there are
            teachers.
        averaging: decay a step of the exponential moving average that is evaluated and kept.
        patience: epochs without a better validation AUC before stopping.
        other_renderings: share of cells taken from the half-size and 50 x 50 renderings.
        seed: decides weights, order and augmentation.
    """

    epochs: int = 30
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 5e-3
    label_smoothing: float = 0.02
    bootstrap: float = 0.0
    bootstrap_from: float = 0.35
    teacher_share: float = 0.7
    averaging: float = 0.998
    patience: int = 15
    other_renderings: float = 0.3
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not (self.epochs >= 1 and self.batch >= 1 and self.patience >= 1):
            raise ConfigError("expected epochs, batch and patience >= 1.")
        if not (self.learning_rate > 0 and 0 <= self.bootstrap < 1 and 0 <= self.averaging < 1):
            raise ConfigError("expected learning rate > 0, bootstrap and averaging in [0, 1).")
        if not 0 <= self.teacher_share <= 1:
            raise ConfigError("expected teacher share in [0, 1].")


@dataclass(frozen=True, eq=False)
class Examples:
    """What a network is fitted to.

    Attributes:
        renderings: uint8 arrays [N, S, S, 3], the first one the original size.
        targets: float32 [N] in 0-1: labels, or a teacher's probabilities mixed with them.
    """

    renderings: tuple[Image, ...]
    targets: Floats

    def __len__(self) -> int:
        return len(self.targets)


def versions() -> dict[str, str]:
    """What the result depends on besides the code."""
    backend = keras.backend.backend()
    return {
        "edge_malaria": __version__,
        "python": platform.python_version(),
        "keras": str(keras.__version__),
        backend: str(import_module(backend).__version__),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def write_config(run: Path, recipe: Any, more: dict[str, Any]) -> None:
    """config.json and versions.json of a run; ``recipe`` is a ``Recipe`` or a ``StudyPlan``."""
    write_json(run / "config.json", {**more, "recipe": dataclasses.asdict(recipe)})
    write_json(run / "versions.json", versions())
