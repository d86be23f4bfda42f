"""A small network, its pixels and its contract, saved and rebuilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.export.importers import Declared, Loading, import_model

TOLD = Declared("0-1", "rgb", "area", "black", classes=("Uninfected", "Parasitized"))
PIXELS = np.random.default_rng(2).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def small(*front: Any, side: int | None = 32, units: int = 1, last: str = "sigmoid") -> Any:
    """A small Sequential network."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            *front,
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(units, activation=last),
        ]
    )


def rebuilt(model: Any, path: Path, declared: Declared = TOLD, **loading: Any) -> Any:
    """The model saved, read and rebuilt."""
    model.save(path)
    return import_model(path, declared, Loading(**loading))
