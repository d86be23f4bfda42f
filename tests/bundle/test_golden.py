"""Golden cells: what is drawn, what is stored, what is read back."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_malaria.bundle import golden, golden_draw, golden_write
from edge_malaria.bundle.golden import NEAR_LOGITS
from edge_malaria.bundle.golden_write import MISTAKES
from edge_malaria.errors import BundleIntegrityError
from edge_malaria.runtime.engines.fake import FakeEngine
from tests.parity.faults import read_bundle_unchecked

ARCHIVES = ("cells.npz", "keras.npz", "crops/inputs.npz")


def logits(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much green light a cell takes away: drawn parasitized cells take more, on average."""
    return ((60.0 - pixels[..., 1].astype(np.float32).mean(axis=(1, 2))) / 4.0).astype(np.float32)


def middle() -> float:
    """A threshold that about half of the drawn cells lie above."""
    plain = golden_draw.draw_golden_cells(logits, 0.0, 48, n=64, seed=5).inputs[:32]
    return float(np.median(logits(plain)))


@pytest.fixture(scope="module")
def cells() -> golden.GoldenCells:
    return golden_draw.draw_golden_cells(logits, middle(), 48, n=128, seed=5)


def test_half_the_cells_lie_near_the_threshold(cells: golden.GoldenCells) -> None:
    assert cells.inputs.shape == (128, 48, 48, 3)
    distance = np.abs(logits(cells.inputs) - cells.threshold_logit)
    assert (distance[cells.near] <= NEAR_LOGITS).all()
    assert cells.near.sum() >= 40
    assert not cells.near[:64].any()
    # On both sides of the threshold, or a shift in one direction would not show.
    sides = logits(cells.inputs[cells.near]) >= cells.threshold_logit
    assert 0.25 <= sides.mean() <= 0.75
    np.testing.assert_array_equal(cells.truth[cells.near], sides)
    assert cells.truth[:64].sum() == 32


@pytest.mark.parametrize(("steepness", "halvings"), [(1.0, 2), (40.0, 7)])
def test_few_halvings_and_steep_networks_come_near_as_well(steepness: float, halvings: int) -> None:
    ran = []

    def steep(pixels: np.ndarray) -> np.ndarray:
        ran.append(len(pixels))
        return logits(pixels) * np.float32(steepness)

    threshold = middle() * steepness
    made = golden_draw.draw_golden_cells(steep, threshold, 48, n=128, seed=5, halvings=halvings)
    assert made.near.sum() >= 32, "a quarter: what the gate asks for"
    distance = np.abs(steep(made.inputs) - threshold)
    np.testing.assert_array_equal(made.near[64:], distance[64:] <= NEAR_LOGITS)
    assert sum(ran) < 128 + 80 * (2 + halvings + 8)


def test_without_blends_every_cell_is_drawn_and_asked_once() -> None:
    ran = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        ran.append(len(pixels))
        return logits(pixels)

    threshold = middle()
    made = golden_draw.draw_golden_cells(counted, threshold, 48, n=64, seed=5, halvings=0)
    assert sum(ran) == len(made.inputs) == 64
    assert made.truth.tolist() == [1] * 32 + [0] * 32
    distance = np.abs(logits(made.inputs) - threshold)
    np.testing.assert_array_equal(made.near, distance <= NEAR_LOGITS)
    assert len({cell.tobytes() for cell in made.inputs}) == 64


def test_drawing_is_repeatable(cells: golden.GoldenCells) -> None:
    threshold = cells.threshold_logit
    again = golden_draw.draw_golden_cells(logits, threshold, 48, n=128, seed=5)
    other = golden_draw.draw_golden_cells(logits, threshold, 48, n=128, seed=6)
    assert again.sha256 == cells.sha256 != other.sha256


def test_crops_are_of_many_sizes_and_need_their_masks(cells: golden.GoldenCells) -> None:
    sides = set()
    for crop, expected in zip(cells.crops, cells.crop_inputs, strict=True):
        image, mask = crop.decoded()
        sides.add(image.shape[:2])
        assert image[~mask].any(), "a surrounding that the mask takes away"
        assert expected.shape == (48, 48, 3)
        assert not expected[0, 0].any()
    assert len(sides) == len(cells.crops)
    assert min(min(side) for side in sides) < 48 < max(max(side) for side in sides)


def test_what_is_written_is_read_back(cells: golden.GoldenCells, tmp_path: Path) -> None:
    golden_write.write_goldens(tmp_path, cells, logits)
    engine = FakeEngine(logits)
    golden_write.write_engine_goldens(tmp_path, cells, engine, "float32", "ab" * 32)
    found = golden.read_goldens(read_bundle_unchecked(tmp_path))
    np.testing.assert_array_equal(found.cells.inputs, cells.inputs)
    assert found.cells.sha256 == found.keras.cells_sha256 == cells.sha256
    assert (found.cells.threshold_logit, found.cells.seed) == (cells.threshold_logit, 5)
    np.testing.assert_array_equal(found.keras.raw, logits(cells.inputs))
    assert found.keras.mistakes is not None
    assert set(found.keras.mistakes) == set(MISTAKES)
    stored = found.engines["fake.float32"]
    np.testing.assert_array_equal(stored.raw, logits(cells.inputs))
    np.testing.assert_array_equal(stored.crop_raw, logits(cells.crop_inputs))
    assert stored.model_sha256 == "ab" * 32


def test_two_writings_give_the_same_bytes(cells: golden.GoldenCells, tmp_path: Path) -> None:
    for name in ("one", "two"):
        golden_write.write_goldens(tmp_path / name, cells, logits)
    assert read_bundle_unchecked(tmp_path / "one") == read_bundle_unchecked(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "missing") for name in (*ARCHIVES, "crops/crop03.png", "crops/crop03.mask.png")),
        *((name, "damaged") for name in ARCHIVES),
    ],
)
def test_a_golden_that_is_gone_or_damaged_is_an_integrity_error(
    cells: golden.GoldenCells, tmp_path: Path, name: str, how: str
) -> None:
    golden_write.write_goldens(tmp_path, cells, logits)
    contents = read_bundle_unchecked(tmp_path)
    if how == "missing":
        del contents[f"golden/{name}"]
    else:
        contents[f"golden/{name}"] = contents[f"golden/{name}"][:40]
    with pytest.raises(BundleIntegrityError, match=name.rpartition("/")[2]):
        golden.read_goldens(contents)


@pytest.mark.slow
def test_arrays_that_would_fill_the_memory_are_never_unpacked() -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("inputs.npy", "w", force_zip64=True) as out,
    ):
        for _ in range((golden.MAX_ARRAY_BYTES >> 20) + 1):
            out.write(bytes(1 << 20))
    contents = {"golden/cells.npz": packed.getvalue()}
    assert len(contents["golden/cells.npz"]) < 1 << 20
    tracemalloc.start()
    with pytest.raises(BundleIntegrityError, match="unpacks to 513 MB"):
        golden.load_arrays(contents, "cells.npz")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\0", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_of_arrays_is_damaged(data: bytes) -> None:
    with pytest.raises(BundleIntegrityError):
        golden.read_goldens({f"golden/{name}": data for name in ARCHIVES})
