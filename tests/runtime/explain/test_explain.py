"""Covering, channels and the explain command, on drawn cells whose parasite's place is known."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import ImageError
from edge_malaria.files import read_image, write_image
from edge_malaria.records import RESEARCH_USE, Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.explain.explain_page import Figure, page
from edge_malaria.runtime.explain.occlusion import inside_cell, occlude, panel
from edge_malaria.synthetic import draw_cell
from tests.asked_again import with_views
from tests.cli import run_cli, run_process, validate


def plain_cell(size_px: int = 48) -> Image:
    """A disc of one colour on black."""
    y, x = np.mgrid[:size_px, :size_px] - size_px / 2 + 0.5
    cell = np.zeros((size_px, size_px, 3), np.uint8)
    cell[np.hypot(x, y) < 0.46 * size_px] = (220, 180, 190)
    return cell


def darkness(batch: Image) -> NDArray[np.float32]:
    """A score that rises with dark pixels within the cell."""
    return np.asarray(((batch[..., 1] > 0) & (batch[..., 1] < 90)).sum(axis=(1, 2)), np.float32)


@settings(max_examples=25, deadline=None)
@given(x=st.integers(12, 33), y=st.integers(12, 33))
def test_the_peak_is_where_the_score_comes_from(x: int, y: int) -> None:
    cell = plain_cell()
    cell[y : y + 3, x : x + 3] = (90, 40, 120)
    found = occlude(cell, darkness)
    assert found.logit == 9.0
    assert abs(found.peak[0] - (x + 1.5)) <= 5 and abs(found.peak[1] - (y + 1.5)) <= 5
    # Of the four squares a side over the best pixel, most cover all three columns, some only two.
    assert 6.0 <= found.drop.max() <= 9.0
    assert found.drop[:4].max() == 0 and not found.drop[cell.max(axis=2) == 0].any()


def test_the_map_by_hand() -> None:
    cell = plain_cell()
    cell[12:15, 12:15] = (90, 40, 120)
    # Columns 12-14 under squares of 8 px that start at even x: pixel 13 lies under those from 6, 8,
    # 10 and 12, which cover 2, 3, 3 and 3 of the columns; rows alike.
    assert occlude(cell, darkness).drop[13, 13] == pytest.approx((11 / 4) ** 2)


def test_a_cell_of_one_colour_has_an_empty_map() -> None:
    assert not occlude(plain_cell(), darkness).drop.any()


def test_nothing_but_background_is_refused() -> None:
    with pytest.raises(ImageError, match="no cell"):
        occlude(np.zeros((48, 48, 3), np.uint8), darkness)


def test_inside_leaves_the_rim_out() -> None:
    cell = plain_cell()
    inside = inside_cell(cell[None])[0]
    on_cell = cell.max(axis=2) > 0
    assert inside[24, 24] and not (inside & ~on_cell).any()
    assert on_cell[24].sum() - inside[24].sum() == 4  # 48 / 24 = 2 px each side
    full = np.full((1, 48, 48, 3), 200, np.uint8)
    assert inside_cell(full).sum() == 44 * 44


def test_covering_the_parasite_lowers_the_shipped_models_logit(shipped_bundle: Path) -> None:
    from edge_malaria.prepare.preprocess import network_input

    classifier = Classifier(read_bundle(shipped_bundle))
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(8):
        drawn = draw_cell(rng, "ring")
        found = occlude(
            network_input(drawn.image, 48), lambda b: classifier.engine.run(b).reshape(len(b))
        )
        assert drawn.parasite_box is not None
        x0, y0, x1, y1 = drawn.parasite_box
        height, width = drawn.image.shape[:2]
        x, y = found.peak[0] * width / 48, found.peak[1] * height / 48
        margin = 4 * width / 48  # half a square
        hits += x0 - margin <= x < x1 + margin and y0 - margin <= y < y1 + margin
    assert hits >= 6


def test_the_panel_shows_cell_map_and_scale() -> None:
    cell = plain_cell()
    cell[20:24, 20:24] = (90, 40, 120)
    picture = panel(cell, occlude(cell, darkness), 0.75)
    assert picture.dtype == np.uint8 and picture.shape == (384 + 64, 384 * 2 + 24 + 90, 3)
    assert (picture[192, 192] == cell[24, 24]).all()
    red = picture[176, 396 + 176].astype(int)
    assert red[0] > red[1] + 60


class _Sources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        self.links += tag in ("link", "script", "iframe")


def test_a_page_holds_its_pictures_and_escapes_names() -> None:
    text = page("<b>&cell", [Figure(plain_cell(), 'a "caption" <i>')])
    read = _Sources()
    read.feed(text)
    assert len(read.images) == 1 and read.images[0].startswith("data:image/png;base64,")
    assert read.links == 0 and "<b>" not in text and "<i>" not in text
    assert RESEARCH_USE in text


@pytest.mark.usefixtures("tensorflow")
def test_boxes_are_half_open_and_silence_is_outside() -> None:
    from edge_malaria.training.activations import peaks, within

    boxes = np.array([[10.0, 20.0, 30.0, 40.0]])
    points = np.array([[[10.0, 20.0], [30.0, 25.0], [29.9, 39.9], [np.nan, np.nan]]])
    assert within(points, boxes).tolist() == [[True, False, True, False]]
    maps = np.zeros((1, 4, 4, 2), np.float32)
    maps[0, 2, 1, 0], maps[0, 0, 0, 0] = 1.0, 5.0
    inside = np.ones((1, 8, 8), bool)
    inside[0, :2, :2] = False
    found = peaks(maps, inside)
    assert found[0, 0].tolist() == [3.0, 5.0]  # the larger one lies outside the cell
    assert np.isnan(found[0, 1]).all()


@pytest.mark.usefixtures("tensorflow")
def test_a_channel_chosen_on_some_rings_peaks_on_the_parasite_of_others() -> None:
    import edge_malaria
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from edge_malaria.training.activations import (
        activations,
        drawn_rings,
        find_channel,
        maximise,
        measure_channel,
        montage,
    )

    shipped = Path(edge_malaria.__file__).parent / "models" / "default.keras"
    model = strip_fake_quant(load_model(shipped))
    chosen = find_channel(model, *drawn_rings(40, 48, 1))
    inputs, boxes = drawn_rings(100, 48, 2)
    assert measure_channel(model, chosen, inputs, boxes).share >= 0.8
    # Boxes of other cells are no better than chance: the share is not the measure's own doing.
    assert measure_channel(model, chosen, inputs, np.roll(boxes, 1, axis=0)).share < 0.5
    excited = maximise(model, "block3_pw_relu", [0, 5], steps=12)
    noise = np.random.default_rng(0).normal(128, 8, excited.shape).clip(0, 255).astype(np.uint8)
    [after] = activations(model, ["block3_pw_relu"], excited)
    [before] = activations(model, ["block3_pw_relu"], noise)
    for row, channel in enumerate((0, 5)):
        assert after[row, :, :, channel].mean() > before[row, :, :, channel].mean()
    sheet = montage(after[0])
    assert sheet.shape == (8 * 49 + 1, 8 * 49 + 1, 3) and sheet.max() == 255


@pytest.mark.usefixtures("tensorflow")
@settings(deadline=None)
@given(st.floats(2**-20, 2**20, width=32))
def test_the_largest_activation_is_white(largest: float) -> None:
    from edge_malaria.training.activations import montage

    maps = np.zeros((4, 4, 2), np.float32)
    maps[1, 1, 0] = largest
    assert montage(maps).max() == 255


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.png"
    write_image(path, draw_cell(np.random.default_rng(8), "ring").image)
    return path


def test_a_bundle_is_explained_without_keras(ring: Path, tmp_path: Path) -> None:
    out = tmp_path / "why.png"
    page = tmp_path / "why.html"
    ran = run_process("explain", "default", ring, "-o", out, "--page", page, "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "explain")
    assert ran.json["channel"] is None and ran.json["p_parasitized"] > 0.5
    height, width = read_image(ring).shape[:2]
    x, y = ran.json["peak"]["image_xy"]
    assert 0 <= x < width and 0 <= y < height
    assert read_image(out).shape[0] == 448
    assert run_cli("explain", "default", ring, "-o", out).code == 2
    again = run_cli("explain", "default", ring, "-o", out, "--force")
    assert again.code == 0 and "p parasitized" in again.out


@pytest.mark.slow
def test_a_keras_file_shows_channels_and_layers_too(ring: Path, tmp_path: Path) -> None:
    import edge_malaria

    shipped = Path(edge_malaria.__file__).parent / "models" / "default.keras"
    out, html = tmp_path / "why.png", tmp_path / "why.html"
    ran = run_cli("explain", shipped, ring, "-o", out, "--page", html, "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "explain")
    assert ran.json["engine"] == "keras" and ran.json["channel"]["share"] >= 0.8
    assert read_image(out).shape[0] == 448 + 384
    read = _Sources()
    read.feed(html.read_text())
    assert len(read.images) == 1 + 2 * 11 and all(src.startswith("data:") for src in read.images)


@pytest.mark.parametrize(
    ("image", "output", "code"),
    [("ring.png", "why.jpg", 2), ("absent.png", "why.png", 5)],
)
def test_mistakes_are_one_line(
    ring: Path, tmp_path: Path, image: str, output: str, code: int
) -> None:
    ran = run_cli("explain", "default", image, "-o", output, cwd=tmp_path)
    assert ran.code == code
    assert ran.error
    assert not (tmp_path / output).exists()


def test_a_flagged_cell_is_covered_in_all_its_views(shipped_bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    write_image(tmp_path / "ring.png", draw_cell(rng, "schizont").image)
    said = {}
    for views in (1, 8):
        bundle = with_views(shipped_bundle, tmp_path / f"views{views}", views)
        out = tmp_path / f"{views}.png"
        ran = run_cli("explain", bundle, tmp_path / "ring.png", "-o", out, "--json")
        assert ran.code == 0, ran.err
        said[views] = ran.json
    assert said[1]["p_parasitized"] >= read_bundle(shipped_bundle).classifier.threshold("balanced")
    # The map belongs to the answer that decides: its logit is the one of the probability shown.
    assert said[1]["logit"] != said[8]["logit"]
    for views, told in said.items():
        decision = read_bundle(tmp_path / f"views{views}").classifier.decision
        z = (told["logit"] + decision.bias) / decision.temperature
        assert told["p_parasitized"] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)
