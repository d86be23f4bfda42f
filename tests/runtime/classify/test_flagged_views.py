"""Flagged cells asked again: which cells, which views, and the arithmetic to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import BundleSchemaError
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.classify.flagged_views import eight_views, mean_logits
from edge_malaria.runtime.engines.fake import FakeEngine
from edge_malaria.synthetic import draw_cell
from tests.asked_again import with_views
from tests.cli import run_cli


@pytest.fixture(scope="module")
def once(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(with_views(shipped_bundle, tmp_path_factory.mktemp("once") / "b", 1))


@pytest.fixture(scope="module")
def again(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(with_views(shipped_bundle, tmp_path_factory.mktemp("again") / "b", 8))


def drawn_inputs(bundle: Bundle, count: int = 24) -> Image:
    rng = np.random.default_rng(8)
    cells = [draw_cell(rng, "ring" if i % 2 else "healthy") for i in range(count)]
    return np.stack([network_input(c.image, bundle.classifier.size_px, c.mask) for c in cells])


def corner(batch: Image) -> NDArray[np.float32]:
    """A network that looks at the red of one corner, in tenths, and says -8 of a black one."""
    return (batch[:, 0, 0, 0] / np.float32(10) - np.float32(8)).astype(np.float32)


def test_the_views_are_the_turns_and_mirror_images_of_a_square() -> None:
    cell = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    views = list(eight_views(cell))
    assert np.array_equal(views[0], cell)
    assert np.array_equal(views[1], cell[:, :, ::-1])
    # A quarter turn counterclockwise takes the right column to the top row.
    assert np.array_equal(views[2][0, 0], cell[0, :, -1])
    assert len({view.tobytes() for view in views}) == 8


def test_the_mean_is_added_in_order_in_float64_and_rounded_once() -> None:
    rng = np.random.default_rng(3)
    answers = (rng.normal(0, 5, (8, 40)) * 10 ** rng.uniform(-6, 3, (8, 40))).astype(np.float32)
    calls = iter(answers)
    batch = np.zeros((40, 8, 8, 3), np.uint8)
    got = mean_logits(batch, lambda view: next(calls))
    for cell in range(40):
        total = 0.0
        for view in range(8):
            total += float(answers[view, cell])
        assert got[cell] == np.float32(total / 8) and got.dtype == np.float32


def test_only_flagged_cells_are_asked_again(again: Bundle) -> None:
    seen: list[int] = []

    def network(batch: Image) -> NDArray[np.float32]:
        seen.append(len(batch))
        return corner(batch)

    size = again.classifier.size_px
    cells = np.zeros((5, size, size, 3), np.uint8)
    cells[1, 0, 0] = 200  # flagged by one corner, which six of eight views turn away
    cells[3, :, :, 0] = 200  # flagged in every view
    decision = again.classifier.decision
    assert 12 / decision.temperature > 5 and abs(decision.bias) < 4
    found = Classifier(again, with_engine=FakeEngine(network, size)).predict_inputs(cells)
    assert seen == [5] + [2] * 7
    # Two of the eight views bring a corner to where it was.
    assert [p.logit for p in found] == [-8.0, -3.0, -8.0, 12.0, -8.0]


def test_a_cell_that_falls_below_the_balanced_point_is_called_and_flagged_no_more(
    again: Bundle,
) -> None:
    spec = again.classifier
    balanced, t, b = spec.threshold("balanced"), spec.decision.temperature, spec.decision.bias
    turn = np.log(balanced / (1 - balanced)) * t - b

    def network(batch: Image) -> NDArray[np.float32]:
        return np.where(batch[:, 0, 0, 0] > 100, turn + 0.5, turn - 3).astype(np.float32)

    cell = np.zeros((1, spec.size_px, spec.size_px, 3), np.uint8)
    cell[0, 0, 0] = 200
    [found] = Classifier(again, with_engine=FakeEngine(network, spec.size_px)).predict_inputs(cell)
    assert not found.positive and found.p_parasitized < balanced
    assert found.logit == pytest.approx(turn - 3 + 2 * 3.5 / 8, abs=1e-5)


def test_a_site_threshold_does_not_move_what_is_asked_again(again: Bundle) -> None:
    cells = drawn_inputs(again)
    usual = Classifier(again).predict_inputs(cells)
    site = Classifier(again, threshold=0.01).predict_inputs(cells)
    assert [p.p_parasitized for p in site] == [p.p_parasitized for p in usual]


def test_an_answer_that_is_no_number_in_one_view_becomes_no_label(again: Bundle) -> None:
    size = again.classifier.size_px

    def network(batch: Image) -> NDArray[np.float32]:
        return np.where(batch[:, -1, -1, 0] > 100, np.nan, 20).astype(np.float32)

    cell = np.zeros((1, size, size, 3), np.uint8)
    cell[0, 0, 0] = 200
    with pytest.raises(ValueError, match="p_parasitized between 0 and 1, got nan"):
        Classifier(again, with_engine=FakeEngine(network, size)).predict_inputs(cell)


def test_without_the_key_every_bit_is_as_before(once: Bundle, again: Bundle) -> None:
    cells = drawn_inputs(once)
    classifier = Classifier(once)
    plain = classifier.predict_inputs(cells)
    first = classifier.engine.run(cells).reshape(-1)
    assert [p.logit for p in plain] == first.tolist()
    asked = Classifier(again).predict_inputs(cells)
    balanced = once.classifier.threshold("balanced")
    flagged = [p.p_parasitized >= balanced for p in plain]
    assert any(flagged) and not all(flagged)
    views = np.stack([classifier.engine.run(v).reshape(-1) for v in eight_views(cells)])
    means = (views.astype(np.float64).sum(axis=0) / 8).astype(np.float32)
    for place, hit in enumerate(flagged):
        assert asked[place].logit == (means[place] if hit else first[place])


def test_one_cell_alone_and_all_cells_together_give_the_same_bits(again: Bundle) -> None:
    cells = drawn_inputs(again)
    classifier = Classifier(again)
    together = classifier.predict_inputs(cells)
    assert [classifier.predict_inputs(cell[None])[0] for cell in cells] == together


def test_older_versions_refuse_such_a_bundle_and_read_the_others(
    once: Bundle, again: Bundle
) -> None:
    assert once.record["schema_version"] == 1
    assert again.record["schema_version"] == 2


@pytest.mark.parametrize("views", [0, 4, 8.0, "8", None])
def test_other_views_are_refused(shipped_bundle: Path, tmp_path: Path, views: object) -> None:
    copy = with_views(shipped_bundle, tmp_path / "copy", views)  # type: ignore[arg-type]
    with pytest.raises(BundleSchemaError, match="flagged_views: expected 1 or 8"):
        read_bundle(copy)


def test_views_need_the_point_from_which_they_are_asked(
    shipped_bundle: Path, tmp_path: Path
) -> None:
    copy = with_views(shipped_bundle, tmp_path / "copy", 8)
    record = json.loads((copy / "bundle.json").read_text())
    del record["models"]["classifier"]["decision"]["operating_points"]["balanced"]
    (copy / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(BundleSchemaError, match="balanced"):
        read_bundle(copy)


def test_screen_writes_down_what_the_eight_views_say(again: Bundle, tmp_path: Path) -> None:
    source = "sim:parasitemia=0.2,fields=1,seed=5,width=640,height=480"
    done = run_cli("screen", source, "-o", tmp_path / "out", "--bundle", again.path)
    assert done.code == 0, done.err
    rows = [line.split(",") for line in (tmp_path / "out/cells.csv").read_text().splitlines()]
    place = rows[0].index("p_parasitized")
    plain = run_cli(
        "screen", source, "-o", tmp_path / "once", "--bundle", once_path(again, tmp_path)
    )
    assert plain.code == 0, plain.err
    before = [line.split(",") for line in (tmp_path / "once/cells.csv").read_text().splitlines()]
    balanced = again.classifier.threshold("balanced")
    changed = [
        (float(old[place]), float(new[place]))
        for old, new in zip(before[1:], rows[1:], strict=True)
        if old[place] and old[place] != new[place]
    ]
    assert changed and all(old >= balanced for old, _ in changed)


def once_path(again: Bundle, folder: Path) -> Path:
    return with_views(again.path, folder / "bundle", 1)
