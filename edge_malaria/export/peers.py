"""Networks beside a bundle in a benchmark that need TensorFlow: published ones, and .keras files.

Their weights are random unless a .keras file brings its own: the time of a network does not depend
on its weights. They are converted to int8 and float32 TFLite, and run in Keras as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from converters.to_tflite import convert
from edge_malaria.benchmark.contestants import Contestant, Run
from edge_malaria.keras_layers import keras, load_model, strip_fake_quant
from edge_malaria.parity.tflite_costs import file_costs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.training.architectures import build

SEED = 0
_VARIANTS = ("float32", "int8")


def peers_of(name: str) -> list[Contestant]:
    """One network on LiteRT (float32 and int8) and in Keras.

    Args:
        name: a registered architecture, or the path of a .keras file.

    Raises:
        UsageError: an unknown architecture; the message lists what there is.
        ModelFileError: not a .keras file that can be read.
    """
    path = Path(name)
    if path.suffix == ".keras":
        model, title = strip_fake_quant(load_model(path)), path.stem
    else:
        keras.utils.set_random_seed(SEED)
        model, title = build(name), name
    size = int(model.input_shape[1])
    cells = np.random.default_rng(SEED).integers(0, 256, (16, size, size, 3), dtype=np.uint8)
    found = []
    macs = None
    for variant in _VARIANTS:
        data = convert(model, variant, cells if variant == "int8" else None)
        macs = file_costs(data).macs
        found.append(
            Contestant(*(title, variant, "litert", size, len(data), macs), _on_litert(data), data)
        )
    weights = 4 * int(model.count_params())
    return [*found, Contestant(title, "float32", "keras", size, weights, macs, _in_keras(model))]


def _on_litert(data: bytes) -> Callable[[int], Run]:
    return lambda threads: open_engine(data, "litert", threads).run


def _in_keras(model: Any) -> Callable[[int], Run]:
    """Keras's ``predict``, as most tutorials call it; its threads are TensorFlow's own."""

    def open_with(threads: int) -> Run:
        def run(batch: Image) -> object:
            return model.predict(batch.astype(np.float32), batch_size=len(batch), verbose=0)

        return run

    return open_with
