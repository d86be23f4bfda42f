"""Pictures whose lower part a decoder made up: damaged files that it does not complain about."""

from __future__ import annotations

import numpy as np

from edge_malaria.records import Image

# JPEG fills what is missing block by block: rows repeat after at most two rows of blocks.
_PERIOD_ROWS = 16
# So many rows do not repeat by chance.
_MIN_ROWS = 4
# A tail below this share of the height could be a scale bar's frame or a caption.
_MIN_SHARE = 0.02


def flat_tail_rows(image: Image) -> int:
    """How many rows at the bottom of a field hold nothing that a sensor saw; 0 for a sound one.

    Rows whose every pixel repeats the one ``_PERIOD_ROWS`` above come from no sensor: where the
    data ended, decoders repeat or fill in. Bars that lie above and below alike are a crop's.

    Args:
        image: uint8 [H, W, 3].
    """
    height = image.shape[0]
    bottom = _repeated(image)
    if bottom < _MIN_ROWS or bottom + _PERIOD_ROWS >= height:
        return 0
    rows = bottom + _PERIOD_ROWS
    alike = 2 * _repeated(image[::-1]) >= bottom
    return 0 if alike or rows < _MIN_SHARE * height else rows


def _repeated(image: Image) -> int:
    """Rows from the bottom on that equal those one period above them."""
    rows = 0
    for row in range(image.shape[0] - 1, _PERIOD_ROWS - 1, -1):
        if not np.array_equal(image[row], image[row - _PERIOD_ROWS]):
            break
        rows += 1
    return rows
