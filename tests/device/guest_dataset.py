"""Runs inside an ARM root: the int8 files on every cell of one split, from the encoded pictures.

Usage: python guest_dataset.py BUNDLE DATASET SPLIT OUT.npz
"""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy as np

from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.runtime.engines.opening import installed_engines, open_engine

SECOND_EVERY = 8


def main(bundle_path: str, dataset_path: str, split: str, out: str) -> None:
    """Writes raw int8 outputs [N] of every engine, and the network inputs uint8 [N, S, S, 3].

    They are named ``<engine>.int8``; ``second/<engine>.int8`` are those of a second network, which
    takes ten times as long, on every eighth cell.
    """
    bundle = read_bundle(bundle_path)
    spec = bundle.classifier
    chosen = open_dataset(dataset_path).select(split)
    inputs = np.stack([network_input(chosen.read(row), spec.size_px) for row in chosen.rows])
    found: dict[str, Any] = {"inputs": inputs, "machine": np.array(platform.machine())}
    networks = {"": bundle} if bundle.second is None else {"": bundle, "second/": bundle.second}
    for place, part in networks.items():
        for name in installed_engines():
            if name in part.classifier.variants["int8"]:
                engine = open_engine(part.read(part.classifier.file("int8", name).file), name)
                shown = inputs[::SECOND_EVERY] if place else inputs
                found[f"{place}{name}.int8"] = engine.run_raw(shown).reshape(-1)
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:5])
