"""Keras as this project needs it, whatever the user's own settings say.

Imported before Keras is, by everything that trains or converts. ``KERAS_BACKEND`` and
``~/.keras/keras.json`` belong to the user's other projects: another backend, float16 or channels
first would load none of the shipped models, or silently another network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from edge_malaria.errors import EnvironmentProblem


def _own_home() -> Path:
    """Where Keras keeps its settings and fetched weights for this project alone."""
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "edge-malaria" / "keras"
    except RuntimeError:  # no home: Keras then keeps nothing
        return Path(os.devnull)


if "keras" not in sys.modules:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = str(_own_home())


def settle(keras: Any) -> None:
    """Sets what may have been set before this package was imported.

    Raises:
        EnvironmentProblem: Keras already runs on another backend in this process.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise EnvironmentProblem(
            f"Keras runs on {backend} in this process, expected tensorflow: import edge_malaria's "
            "modules before Keras, or set KERAS_BACKEND=tensorflow."
        )
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
