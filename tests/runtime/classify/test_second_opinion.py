"""The finder's opinion of a crop: what is no red cell gets "unsure"."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_malaria
from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import write_image
from edge_malaria.runtime.classify.second_opinion import (
    CANVAS_PX,
    CLEAR_LIGHT,
    SecondOpinion,
    on_clear_light,
    second_opinion,
)
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli
from tests.runtime.classify.test_abstain import drawn


@pytest.fixture(scope="module")
def opinion(shipped_bundle: Path) -> SecondOpinion:
    found = second_opinion(read_bundle(shipped_bundle), "litert")
    assert found is not None
    return found


@given(st.integers(24, 90), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_black_becomes_light_and_the_cell_stays(side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    away = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2))
    colour = rng.integers(60, 200, 3)
    cell = ((away < side / 2 - 1)[:, :, None] * colour).astype(np.uint8)
    before = cell.copy()
    shown = on_clear_light(cell)
    assert shown.shape == (CANVAS_PX, CANVAS_PX, 3) and shown.dtype == np.uint8
    assert np.array_equal(cell, before)
    assert np.abs(shown[0, 0].astype(int) - CLEAR_LIGHT).max() == 0
    middle = shown[CANVAS_PX // 2 - 1 : CANVAS_PX // 2 + 1, CANVAS_PX // 2 - 1 : CANVAS_PX // 2 + 1]
    assert np.abs(middle.astype(int) - colour).max() <= 1
    # No black is left at its rim, where the two are mixed.
    assert (shown.min(axis=(0, 1)) >= 0.6 * np.minimum(colour, CLEAR_LIGHT)).all()


@pytest.mark.slow
def test_red_cells_stay_and_white_cells_go(opinion: SecondOpinion) -> None:
    for kind in ("healthy", "ring", "late-trophozoite"):
        assert opinion.foreign(drawn(kind, 100, 5)).mean() <= 0.03, kind
    assert opinion.foreign(drawn("white-cell", 100, 6)).mean() >= 0.35


def test_a_cells_answer_does_not_depend_on_its_batch(opinion: SecondOpinion) -> None:
    cells = np.concatenate([drawn("healthy", 70, 7), drawn("white-cell", 5, 8)])
    alone = [opinion.margins(cell[None])[0] for cell in cells]
    assert opinion.margins(cells).tolist() == alone
    assert opinion.margins(cells[:0]).shape == (0,)


def test_an_answer_that_is_no_number_is_no_red_cell() -> None:
    class Broken:
        def run(self, batch: np.ndarray) -> np.ndarray:
            return np.full((len(batch), CANVAS_PX // 2, CANVAS_PX // 2, 8), np.nan, np.float32)

    assert SecondOpinion(Broken()).foreign(drawn("healthy", 2, 9)).all()  # type: ignore[arg-type]


def test_a_bundle_without_a_finder_has_no_second_opinion(shipped_bundle: Path) -> None:
    bundle = read_bundle(shipped_bundle)
    alone = dataclasses.replace(bundle, models={"classifier": bundle.classifier})
    assert alone.finder is None
    assert second_opinion(alone) is None


def test_the_command_and_the_library_say_unsure_of_the_same_cells(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    kinds = ["white-cell"] * 12 + ["ring"] * 6 + ["healthy"] * 6
    crops = []
    for index, kind in enumerate(kinds):
        cell = draw_cell(rng, kind)
        crops.append(np.asarray(cell.image * cell.mask[:, :, None], np.uint8))
        write_image(tmp_path / f"{index:02d}.png", crops[-1])
    ran = run_cli("classify", tmp_path, "--json")
    assert ran.code == 0, ran.err
    said = [row["label"] for row in ran.json]
    assert said[:12].count("unsure") >= 8
    assert "unsure" not in said[12:]
    predictions = edge_malaria.open_bundle().classify(crops)
    assert [p.label for p in predictions] == said
    # An abstention keeps its probability, so that it leaves no denominator.
    for row, prediction in zip(ran.json, predictions, strict=True):
        assert row["p_parasitized"] == prediction.p_parasitized
        assert row["positive"] == prediction.positive
