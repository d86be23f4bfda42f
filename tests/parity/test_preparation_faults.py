"""Cells prepared in another way, by the exporting or by this machine, are refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edge_malaria
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.prepare.preprocess import network_input
from tests.parity import faults
from tests.parity.faults import Fault, Plant


def _stored_inputs(prepare: Callable[[Any, Any, int], Any]) -> Plant:
    """The bundle was made by an installation that prepares crops in another way."""

    def plant(bundle: Path) -> None:
        goldens = read_goldens(read_bundle(bundle).contents)
        size = goldens.cells.inputs.shape[1]
        made = np.stack([prepare(*crop.decoded(), size) for crop in goldens.cells.crops])
        path = bundle / "golden" / "crops" / "inputs.npz"
        with np.load(path) as stored:
            names = stored["names"]
        np.savez(path, names=names, inputs=made)
        faults.restamp(bundle)

    return plant


def _linear(crop: Any, mask: Any, size: int) -> Any:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    return cv2.resize(masked, (size, size), interpolation=cv2.INTER_LINEAR)


def _cropped(crop: Any, mask: Any, size: int) -> Any:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    padded = np.zeros((max(size, masked.shape[0]), max(size, masked.shape[1]), 3), np.uint8)
    top, left = (padded.shape[0] - masked.shape[0]) // 2, (padded.shape[1] - masked.shape[1]) // 2
    padded[top : top + masked.shape[0], left : left + masked.shape[1]] = masked
    top, left = (padded.shape[0] - size) // 2, (padded.shape[1] - size) // 2
    return padded[top : top + size, left : left + size]


def _opencv(crop: Any, mask: Any, size: int) -> Any:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    return cv2.resize(masked, (size, size), interpolation=cv2.INTER_AREA)


def _one_level(crop: Any, mask: Any, size: int) -> Any:
    made = network_input(crop, size, mask).copy()
    made[size // 2, size // 2, 0] ^= 1
    return made


FAULTS = (
    Fault("INTER_LINEAR in the bundle", _stored_inputs(_linear), ("INTER_LINEAR in place of",)),
    Fault("crop in the bundle", _stored_inputs(_cropped), ("a crop instead of a resize",)),
    Fault(
        "OpenCV's INTER_AREA in the bundle",
        _stored_inputs(_opencv),
        ("OpenCV's float32 INTER_AREA",),
    ),
    Fault("one grey level in the bundle", _stored_inputs(_one_level), ("[files]", "crops differ")),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault_is_refused_and_named(fault: Fault, tmp_path: Path) -> None:
    faults.assert_refused(fault, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "return area_resize(crop, how.size_px, shown, table, out)",
            "masked = apply_mask(scaled(crop, table), shown); "
            "side = (how.size_px, how.size_px); "
            "return cv2.resize(masked, side, interpolation=cv2.INTER_LINEAR)",
            "INTER_LINEAR in place",
        ),
        (
            "return area_resize(crop, how.size_px, shown, table, out)",
            "masked = apply_mask(scaled(crop, table), shown); "
            "size_px = how.size_px; resized = np.zeros((size_px, size_px, 3), np.uint8); "
            "part = masked[:size_px, :size_px]; "
            "resized[: part.shape[0], : part.shape[1]] = part; return resized",
            "crop instead of a resize",
        ),
        ('shown = mask if how.mask == "black" else None', "shown = None", "no mask applied"),
    ],
    ids=["INTER_LINEAR", "crop", "no mask"],
)
def test_faults_of_the_installed_preprocessing_are_refused(
    old: str, new: str, words: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The bundle is honest; the code on this machine is not: its source file is edited."""
    package = Path(edge_malaria.__file__).parent
    shutil.copytree(
        package, tmp_path / "edge_malaria", ignore=shutil.ignore_patterns("models", "__pycache__")
    )
    source = tmp_path / "edge_malaria" / "prepare" / "preprocess.py"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edge_malaria.cli.app", "parity", str(tiny_bundle)),
            *("--engine", "litert"),
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "[files]" in done.stderr
    assert words in done.stderr
