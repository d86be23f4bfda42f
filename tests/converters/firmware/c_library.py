"""The generated C file as a shared library, and cells to ask it about."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.firmware import sweep
from converters.firmware import to_c
from edge_malaria.bundle.spec import Bundle
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_cell

LABELS = ("uninfected", "parasitized", "unsure")


class Result(ctypes.Structure):
    """``edge_malaria_result_t``."""

    _fields_ = (
        ("label", ctypes.c_int),
        ("positive", ctypes.c_uint8),
        ("raw", ctypes.c_int8),
        ("permille", ctypes.c_uint16),
    )


def compiled(folder: Path, built: Path) -> ctypes.CDLL:
    """The C file of ``folder`` as the shared library ``built``, rounding as XNNPACK does."""
    flags = [*sweep.STRICT, "-O2", "-shared", "-fPIC", "-DEDGE_MALARIA_ROUNDING=1"]
    subprocess.run(["cc", *flags, folder / to_c.SOURCE, "-o", built], check=True)
    return ctypes.CDLL(str(built))


def pixels(cell: Image) -> ctypes.c_void_p:
    """A cell uint8 [S, S, 3] as C takes it; valid as long as ``cell`` lives."""
    return np.ascontiguousarray(cell).ctypes.data_as(ctypes.c_void_p)


def classified(library: ctypes.CDLL, cell: Image, threshold: int) -> Result:
    """What ``edge_malaria_classify`` says of a cell uint8 [S, S, 3]."""
    result, given = Result(), np.ascontiguousarray(cell)
    library.edge_malaria_classify(pixels(given), ctypes.c_int(threshold), ctypes.byref(result))
    return result


def golden_and_drawn(bundle: Bundle, golden: int) -> Image:
    """Golden cells of a bundle near its threshold, ``golden`` at most, and 60 drawn ones."""
    stored = np.load(bundle.path / "golden" / "cells.npz")
    rng = np.random.default_rng(6)
    kinds = ("ring", "healthy", "schizont")
    drawn = [draw_cell(rng, kinds[i % 3]) for i in range(60)]  # type: ignore[arg-type]
    inputs = [network_input(c.image, bundle.classifier.target, c.mask) for c in drawn]
    return np.concatenate([stored["inputs"][stored["near"]][:golden], np.stack(inputs)])
