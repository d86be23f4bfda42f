"""Writes the two files of the benchmark's probe: ``python -m tools.build_probe``.

A stack of 1 x 1 convolutions over 128 channels with drawn weights; see
``edge_malaria/benchmark/peak.py``. The same files come out each time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.to_tflite import convert
from edge_malaria.benchmark.peak import FILES, SIDE_PX
from edge_malaria.files import write_bytes
from edge_malaria.keras_layers import keras

CHANNELS, LAYERS, SEED = 128, 4, 20260101
FOLDER = Path(__file__).resolve().parents[1] / "edge_malaria" / "benchmark"


def main() -> None:
    """Builds, converts, writes."""
    keras.utils.set_random_seed(SEED)
    pixels = keras.Input((SIDE_PX, SIDE_PX, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    for _ in range(LAYERS + 1):
        x = keras.layers.Conv2D(CHANNELS, 1, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, keras.layers.Dense(1)(x))
    rng = np.random.default_rng(SEED)
    cells = rng.integers(0, 256, (16, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    for name in FILES.values():
        variant = name.split(".")[1]
        data = convert(model, variant, cells if variant == "int8" else None)
        write_bytes(FOLDER / name, data)
        print(f"{name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
