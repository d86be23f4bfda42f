"""Dark nuclei among pale red cells, drawn."""

from __future__ import annotations

import cv2
import numpy as np

from edge_malaria.records import Image

NUCLEI = np.random.default_rng(4).integers(60, 660, (9, 2))


def pale_with_nuclei(field: Image) -> Image:
    """Red cells of a third of their stain, and nuclei, which alone cross a cut between two."""
    out = np.clip(238 + (field.astype(np.float32) - 238) * 0.35, 0, 255).astype(np.uint8)
    for x, y in NUCLEI:
        cv2.circle(out, (int(x), int(y)), 32, (60, 30, 110), cv2.FILLED, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 1.0), np.uint8)
