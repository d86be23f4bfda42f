"""Transplanted parasites and the pool that networks are fine-tuned on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_malaria.errors import DataError, DatasetError
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.classifier import pool
from edge_malaria.training.classifier.artefacts import Platelet
from edge_malaria.training.classifier.feed import batches
from edge_malaria.training.classifier.pool import PoolCells, PoolPlan, draw_pool
from edge_malaria.training.classifier.pool_batches import PooledExamples, Reference, turned
from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.classifier.transplant import (
    DENSITY,
    Parasite,
    extract,
    on_cell,
    transplant,
    with_contrast,
)

HOME, FOREIGN = 24, 30
PLAN = PoolPlan(passes=2, foreign=0.5, transplanted=0.5, artefacts=0.8)


def inputs(kind: str, count: int, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    cells = [draw_cell(rng, kind) for _ in range(count)]  # type: ignore[arg-type]
    return np.stack([network_input(cell.image, 48, cell.mask) for cell in cells])


@pytest.fixture(scope="module")
def parasites() -> list[Parasite]:
    found = [extract(cell) for cell in inputs("ring", 16, 1)]
    kept = [one for one in found if one is not None]
    assert len(kept) >= 5
    return kept


@pytest.fixture(scope="module")
def material(parasites: list[Parasite]) -> PoolCells:
    home = inputs("healthy", HOME, 2)
    foreign = inputs("healthy", FOREIGN, 3)
    laboratory = np.array(["here", "there", "elsewhere"]).repeat(FOREIGN // 3)
    weight, recipients = np.linspace(0.1, 1.0, FOREIGN), np.ones(FOREIGN, bool)
    lent = [Platelet(spot, name) for spot in parasites[:4] for name in ("there", "elsewhere")]
    return PoolCells(
        np.stack([home, home]),
        foreign,
        laboratory,
        weight,
        recipients,
        parasites,
        np.arange(HOME) < HOME // 2,
        lent,
    )


@pytest.fixture(scope="module")
def drawn(material: PoolCells, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pool") / "pool"
    draw_pool(material, PLAN, directory)
    return directory


def test_a_healthy_cell_gives_no_parasite() -> None:
    found = [extract(cell) for cell in inputs("healthy", 10, 5)]
    assert sum(one is not None for one in found) <= 2


def test_a_transplanted_parasite_darkens_the_cell_inside_its_outline(
    parasites: list[Parasite],
) -> None:
    rng = np.random.default_rng(6)
    for cell in inputs("healthy", 6, 7):
        grown = transplant(cell, parasites[int(rng.integers(len(parasites)))], rng)
        if grown is None:
            continue
        inside = on_cell(cell) > 0
        assert (grown[~inside] == 0).all()
        deeper = (DENSITY[grown] - DENSITY[cell])[:, :, 1]
        assert deeper[inside].max() > 0.1
        assert np.median(np.abs(deeper[inside])) < 0.05


def test_contrast_turns_about_the_cells_own_median() -> None:
    cells = inputs("ring", 8, 8)
    before = cells.copy()
    flat = with_contrast(cells, np.random.default_rng(9), 1.0, 0.4, 0.4001)
    np.testing.assert_array_equal(cells, before)
    for old, new in zip(cells, flat, strict=True):
        mask = on_cell(old) > 0
        spread = [np.percentile(DENSITY[c][mask][:, 1], [5, 95]) for c in (old, new)]
        assert np.ptp(spread[1]) < 0.7 * np.ptp(spread[0])
        moved = np.median(old[mask], axis=0) - np.median(new[mask], axis=0)
        assert np.abs(moved).max() <= 6


def test_a_pass_depends_on_seed_and_number_only(
    material: PoolCells, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    stopped = RuntimeError("power cut")

    def cut(done: int) -> None:
        raise stopped

    with pytest.raises(RuntimeError, match="power cut"):
        draw_pool(material, PLAN, again, cut)
    (again / ".pass-001.7").mkdir()
    draw_pool(material, PLAN, again)
    for file in sorted(drawn.rglob("*.npy")):
        other = again / file.relative_to(drawn)
        np.testing.assert_array_equal(np.load(file), np.load(other))
    first, second = (np.load(drawn / f"pass-00{n}" / "foreign.npy") for n in (0, 1))
    assert (first != second).any()


def examples(directory: Path, material: PoolCells, **more: object) -> PooledExamples:
    labels = np.zeros(HOME, np.float32)
    labels[::2] = 1.0
    given = {"allowed": np.ones(HOME, bool), "batch": (4, 2, 2, 2), **more}
    return PooledExamples(directory, labels, laboratory=material.laboratory, **given)  # type: ignore[arg-type]


def test_batches_hold_each_part_with_its_truth(drawn: Path, material: PoolCells) -> None:
    made = list(batches(examples(drawn, material), Recipe(batch=4, seed=3), 0))
    assert len(made) == HOME // 4
    home = np.concatenate([targets[:4, 0] for _, targets in made])
    assert home.sum() == HOME / 2
    for cells, targets in made:
        assert (cells.shape, cells.dtype) == ((10, 48, 48, 3), np.float32)
        assert targets[4:, 0].tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    again = list(batches(examples(drawn, material), Recipe(batch=4, seed=3), 0))
    np.testing.assert_array_equal(made[2][0], again[2][0])


def test_a_laboratory_left_out_is_in_no_batch(drawn: Path, material: PoolCells) -> None:
    for part in ("foreign", "transplanted", "artefacts"):
        index = np.load(drawn / "pass-000" / f"{part}_index.npy")
        pictures = np.load(drawn / "pass-000" / f"{part}.npy")
        theirs = (index >= 0) & (material.laboratory[np.maximum(index, 0)] == "there")
        if part == "artefacts":
            theirs |= np.load(drawn / "pass-000" / "artefacts_laboratory.npy") == "there"
        banned = pictures[theirs]
        assert 0 < len(banned) < len(pictures)
        seen = list(
            batches(examples(drawn, material, without=("there",)), Recipe(batch=4, seed=3), 0)
        )
        shown = np.concatenate([cells[4:] for cells, _ in seen]).astype(np.uint8)
        assert not any((shown == picture).all(axis=(1, 2, 3)).any() for picture in banned)
    with pytest.raises(DatasetError, match="left out"):
        next(examples(drawn, material, without=("here", "there", "elsewhere")).batches(Recipe(), 0))


def test_patients_left_out_and_the_references_share(drawn: Path, material: PoolCells) -> None:
    allowed = np.arange(HOME) < HOME // 2
    half = examples(drawn, material, allowed=allowed)
    assert len(half) == HOME // 2
    index = np.load(drawn / "pass-000" / "home_index.npy")
    pictures = np.load(drawn / "pass-000" / "home.npy")
    seen = list(batches(half, Recipe(batch=4, seed=1), 0))
    shown = np.concatenate([cells[:4] for cells, _ in seen]).astype(np.uint8)
    held = pictures[~allowed[index]]
    assert not any((shown == picture).all(axis=(1, 2, 3)).any() for picture in held)
    # Home cells under an artefact are those of patients as well.
    others = examples(drawn, material, allowed=~allowed)
    index = np.load(drawn / "pass-000" / "artefacts_index.npy")
    held = np.load(drawn / "pass-000" / "artefacts.npy")[index < 0]
    assert len(held)
    seen = list(batches(others, Recipe(batch=4, seed=1), 0))
    shown = np.concatenate([cells[8:] for cells, _ in seen]).astype(np.uint8)
    assert not any((shown == picture).all(axis=(1, 2, 3)).any() for picture in held)
    unsure = examples(drawn, material, reference=Reference(_says(0.0), share=0.4))
    targets = np.concatenate([t[:4, 0] for _, t in batches(unsure, Recipe(batch=4), 0)])
    np.testing.assert_allclose(sorted(set(targets.tolist())), [0.2, 0.8], atol=1e-6)


def _says(home: float) -> Callable[[Path, str], NDArray[np.float32]]:
    """A network that says ``home`` of home cells and knows every second other cell."""

    def logits(folder: Path, part: str) -> NDArray[np.float32]:
        count = len(np.load(folder / f"{part}_index.npy"))
        if part == "home":
            return np.full(count, home, np.float32)
        return np.where(np.arange(count) % 2 == 0, 3.0, -3.0).astype(np.float32)

    return logits


def test_what_the_reference_contradicts_is_left_out(drawn: Path, material: PoolCells) -> None:
    sure = examples(drawn, material, reference=Reference(_says(8.0), share=0.0, hard_negatives=1.0))
    made = list(batches(sure, Recipe(batch=4, seed=2), 0))
    # It is sure that every home cell is parasitized: healthy labels are doubtful to it.
    assert {float(t) for _, targets in made for t in targets[:4, 0]} == {1.0}
    for place, part in ((4, "foreign"), (6, "transplanted"), (8, "artefacts")):
        shown = np.concatenate([cells[place : place + 2] for cells, _ in made]).astype(np.uint8)
        unseen = np.load(drawn / "pass-000" / f"{part}.npy")[1::2]
        known = np.load(drawn / "pass-000" / f"{part}.npy")[::2]
        only = [p for p in unseen if not (known == p).all(axis=(1, 2, 3)).any()]
        assert not any((shown == picture).all(axis=(1, 2, 3)).any() for picture in only)


def test_an_empty_pool_says_so(tmp_path: Path, material: PoolCells) -> None:
    with pytest.raises(DataError, match="no pool"):
        examples(tmp_path, material)
    with pytest.raises(DatasetError, match="parasites"):
        PoolCells(
            material.home,
            material.foreign,
            material.laboratory,
            material.weight,
            material.recipients,
            [],
            material.plain,
            material.platelets,
        )
    with pytest.raises(DatasetError, match="platelets"):
        dataclasses.replace(material, platelets=[])
    assert pool.PARTS == ("home", "foreign", "transplanted", "artefacts")


def test_a_pool_of_other_cells_or_another_plan_is_refused(
    material: PoolCells, drawn: Path, tmp_path: Path
) -> None:
    draw_pool(material, PLAN, drawn)
    darker = dataclasses.replace(material, foreign=material.foreign // 2)
    with pytest.raises(DataError, match="other cells"):
        draw_pool(darker, PLAN, drawn)
    with pytest.raises(DataError, match="another plan"):
        draw_pool(material, dataclasses.replace(PLAN, contrast=0.1), drawn)
    (tmp_path / "pass-000").mkdir()
    with pytest.raises(DataError, match=r"pool\.json"):
        draw_pool(material, PLAN, tmp_path)


def test_turned_cells_are_views_of_themselves() -> None:
    rng = np.random.default_rng(5)
    cells = rng.integers(0, 256, (64, 6, 6, 3), dtype=np.uint8)
    before = cells.copy()
    made = turned(cells, rng)
    np.testing.assert_array_equal(cells, before)
    seen = set()
    for cell, view in zip(cells, made, strict=True):
        own = [np.rot90(one, turns) for one in (cell, cell[:, ::-1]) for turns in range(4)]
        seen.add(next(i for i, other in enumerate(own) if np.array_equal(other, view)))
    assert seen == set(range(8))
