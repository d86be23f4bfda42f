"""Whose network a C file holds, and how it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.firmware.network import Network
from edge_malaria.prepare.contract import Preparation


@dataclass(frozen=True)
class Identity:
    """Whose network it is.

    Attributes:
        name, version: of the bundle or file.
        sha256: of the .tflite file.
        size_px: side of the RGB input; 0 for a network that is no cell classifier.
        thresholds: operating point -> the raw output at or above which a cell is positive.
        unsure: lowest and highest raw output that is labelled unsure; low > high: none.
        permille: uint16 [256] probability x 1000 by raw output + 128.
        asked_again_from: the raw output from which on eight views decide; None for never. Then
            ``thresholds`` and ``unsure`` count eighths of a raw step, and ``permille`` is uint16
            [2041], by eighths + 1024.
        preparation: how crops become the network's input; None where ``size_px`` is 0.
        second: the network that is asked about flagged cells; None where there is none. Then
            ``asked_again_from`` says from which raw output on, ``thresholds`` are raw outputs of
            the second network, and cells that it is not asked about are negative.
    """

    name: str
    version: str
    sha256: str
    size_px: int = 0
    thresholds: Mapping[str, int] | None = None
    unsure: tuple[int, int] = (127, -128)
    permille: NDArray[np.uint16] | None = None
    preparation: Preparation | None = None
    asked_again_from: int | None = None
    second: Second | None = None


@dataclass(frozen=True, eq=False)
class Second:
    """The second network of a C file.

    Attributes:
        network: lowered.
        sha256: of its .tflite file.
        unsure: lowest and highest raw output of it that is labelled unsure; low > high: none.
        permille: uint16 [256] probability x 1000 by its raw output + 128.
    """

    network: Network
    sha256: str
    unsure: tuple[int, int]
    permille: NDArray[np.uint16]
