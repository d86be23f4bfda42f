"""The firmware's colour table against Python's, bit for bit."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.prepare.stain import HOME_RGB, StainScaling

COMMON = Path(__file__).parents[2] / "firmware_examples" / "common"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("stain") / "stain.so"
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, COMMON / "stain_table.c", "-o", out], check=True)
    return ctypes.CDLL(str(out))


@pytest.mark.parametrize("home", [HOME_RGB, (8, 120, 247), (170, 90, 200)])
def test_every_level_of_every_slide(library: ctypes.CDLL, home: tuple[int, int, int]) -> None:
    scaling = StainScaling(home)
    for level in range(256):
        slide = (level, 255 - level, (level * 5) % 256)
        table = np.zeros((256, 3), np.uint8)
        colours = ((ctypes.c_uint8 * 3)(*slide), (ctypes.c_uint8 * 3)(*home))
        library.stain_table(table.ctypes.data_as(ctypes.c_void_p), *colours)
        np.testing.assert_array_equal(table, scaling.table(slide), err_msg=str(slide))
