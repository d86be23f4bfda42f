"""Runs inside an ARM root file system: every model file on the golden cells and crops.

Usage: python guest.py BUNDLE OUT.npz [CELLS]

Uses the package's own decoding, preprocessing and engines; asserts nothing. What it writes is
compared bit for bit with the same script's output on the host.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import installed_engines, open_engine


def noise_crops() -> list[Image]:
    """Noise of many sizes; at 160 px many exact means lie half-way between two levels."""
    rng = np.random.default_rng(160)
    sides = [(160, 160), (160, 131), (300, 280), (37, 37), *rng.integers(30, 200, (30, 2)).tolist()]
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sides]


def main(bundle_path: str, out: str, cells: int) -> None:
    """Writes ``<engine>.<variant>`` and ``crop.<engine>.<variant>`` raw outputs, ``inputs``.

    Of the second network ``second.litert.int8``, on a quarter of its cells: it is four times as
    much work, and processors are emulated.
    """
    bundle = read_bundle(Path(bundle_path))
    goldens = read_goldens(bundle.contents)
    crops = [crop.decoded() for crop in goldens.cells.crops]
    size_px = bundle.classifier.size_px
    inputs = network_inputs([c for c, _ in crops], size_px, [m for _, m in crops])
    # Evenly spread, so that cells near the threshold are among them.
    chosen = goldens.cells.inputs[:: max(1, len(goldens.cells.inputs) // cells)]
    found = {
        "inputs": inputs,
        "resized": network_inputs(noise_crops(), size_px),
        "machine": np.array(platform.machine()),
    }
    for variant, files in bundle.classifier.variants.items():
        for name, spec in files.items():
            if name in installed_engines():
                engine = open_engine(bundle.read(spec.file), name)
                found[f"{name}.{variant}"] = engine.run_raw(chosen)
                found[f"crop.{name}.{variant}"] = engine.run_raw(inputs)
    if bundle.second is not None and "litert" in installed_engines():
        spec = bundle.second.classifier.file("int8", "litert")
        own = read_goldens(bundle.second.contents).cells.inputs
        engine = open_engine(bundle.second.read(spec.file), "litert")
        found["second.litert.int8"] = engine.run_raw(own[:: max(1, 4 * len(own) // cells)])
    np.savez(out, **found)
    print(f"{platform.machine()}: {len(chosen)} cells, {sorted(found)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1024)
