"""Calls of Keras's own operations in .h5 files that Keras 3 wrote and cannot read itself.

Arithmetic between layers (``preprocess_input``, ``x / 255``) is stored as an entry of class
``TrueDivide`` or ``Subtract``, without its module. The loader knows no such layer, or takes the
layer ``keras.layers.Subtract`` for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_malaria.keras_layers import keras

_MARK = "operation>"


def _classes() -> dict[str, Any]:
    from keras.src.ops import core, image, math, nn, numpy

    return {
        name: made
        for module in (image, math, nn, core, numpy)
        for name, made in vars(module).items()
        if isinstance(made, type) and issubclass(made, keras.Operation)
    }


def _marked(value: Any, known: Mapping[str, Any]) -> Any:
    """The configuration with another class name on each call: one that no layer has."""
    if isinstance(value, list):
        return [_marked(part, known) for part in value]
    if not isinstance(value, dict):
        return value
    made = {key: _marked(part, known) for key, part in value.items()}
    config = made.get("config")
    # Layers say whether they are trained; an operation has nothing to train.
    called = isinstance(config, dict) and "trainable" not in config and "inbound_nodes" in made
    if called and "module" not in made and made.get("class_name") in known:
        made["class_name"] = f"{_MARK}{made['class_name']}"
    return made


def stands_in(config: str) -> bool:
    """Whether a configuration (JSON text) holds such a call."""
    value = json.loads(config)
    return bool(value != _marked(value, _classes()))


def build(config: str, custom: Mapping[str, Any]) -> Any:
    """The network of a configuration, without its weights.

    Args:
        config: JSON text.
        custom: names -> classes.
    """
    known = _classes()
    made = _marked(json.loads(config), known)
    kind = keras.Sequential if made["class_name"] == "Sequential" else keras.Model
    named = {f"{_MARK}{name}": one for name, one in known.items()}
    return kind.from_config(made["config"], custom_objects={**named, **custom})
