"""Small real pictures of cells, each of its own bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_malaria.files import encode_image


def picture(number: int, suffix: str = ".png") -> bytes:
    """An encoded 8 x 8 picture that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return encode_image(pixels, suffix)


def write(root: Path, names: list[str], first: int = 0) -> Path:
    """Writes a picture under each name and returns ``root``."""
    for number, name in enumerate(names, start=first):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return root
