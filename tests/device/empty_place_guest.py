"""Runs inside an ARM root file system: gains of an empty place and frames that it corrects.

Usage: python empty_place_guest.py OUT.npz
"""

from __future__ import annotations

import platform
import sys

import cv2
import numpy as np

from edge_malaria.runtime.sources.empty_place import EmptyPlace, FlatField


def main(out: str) -> None:
    """Writes the gains and what they make of frames of every level."""
    rng = np.random.default_rng(9)
    y, x = np.mgrid[-1.0:1.0:480j, -1.0:1.0:640j]
    light = np.rint(230 * (1 - 0.3 * (x * x + y * y)))[:, :, None] + rng.integers(
        -9, 9, (480, 640, 3)
    )
    picture = np.clip(light, 1, 255).astype(np.uint8)
    flat = FlatField(EmptyPlace(picture, "camera:0", {}, "2026-11-27T00:00:00+00:00", ""))
    frames = rng.integers(0, 256, (8, 480, 640, 3), np.uint8)
    np.savez(
        out,
        gains=flat.place.gains,
        even=np.stack([flat.apply(frame) for frame in frames]),
        machine=np.array(platform.machine()),
        opencv=np.array(cv2.__version__),
    )


if __name__ == "__main__":
    main(sys.argv[1])
