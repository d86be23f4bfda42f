"""Quality: drawn fields pass, spoilt ones are refused by name, real thick smears all are."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ConfigError
from edge_malaria.files import read_image
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.flat_field import field_correction
from edge_malaria.runtime.detect.light import absorbance, strongest
from edge_malaria.runtime.quality.cell_quality import assess_cells
from edge_malaria.runtime.quality.explained import explained_share
from edge_malaria.runtime.quality.field_quality import (
    REASONS,
    FieldQuality,
    QualityLimits,
    assess,
    assess_light_path,
    separation,
)
from edge_malaria.runtime.screen.config import ScreenConfig, load_config
from edge_malaria.runtime.screen.field_judge import FieldJudge, view_of
from edge_malaria.synthetic import draw_field


def judged(image: Image) -> str:
    """The reason that ``image`` is refused for, with the classical finder."""
    quality = assess(image)
    if quality.accepted:
        cells = ClassicalFinder().find(image)
        quality = assess_cells(cells, quality, max(image.shape[:2]))
    return quality.reason


@pytest.fixture(scope="module")
def field() -> Image:
    """A sharp, well-lit drawn field."""
    return draw_field(11, 960, 720, cell_diameter_px=60)[0]


def test_drawn_fields_are_accepted() -> None:
    assert [judged(draw_field(seed, 960, 720)[0]) for seed in range(3)] == ["", "", ""]


def test_each_fault_has_its_name(field: Image) -> None:
    black = np.zeros((720, 960, 3), np.uint8)
    framed = np.zeros((1100, 1400, 3), np.uint8)
    framed[200:920, 200:1160] = field
    faults = {
        "too-dark": black,
        "too-bright": np.full((720, 960, 3), 255, np.uint8),
        "no-cells": np.full((720, 960, 3), 215, np.uint8),
        "clipped": framed,
        "out-of-focus": np.asarray(cv2.GaussianBlur(field, (0, 0), 9), np.uint8),
    }
    assert {name: judged(image) for name, image in faults.items()} == {n: n for n in faults}
    assert judged(np.asarray(field * 0.2, np.uint8)) == "too-dark"
    assert set(faults) <= set(REASONS)


def test_colourless_copies_and_single_channels_have_their_name(field: Image) -> None:
    grey = np.repeat(cv2.cvtColor(field, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    faint = np.asarray(grey * 0.9 + field * 0.1, np.uint8)
    pages = [np.repeat(field[:, :, c : c + 1], 3, axis=2) for c in range(3)]
    assert [judged(image) for image in (grey, faint, *pages)] == ["no-colour"] * 5


def test_a_slate_stain_is_counted_though_its_colour_is_faint(field: Image) -> None:
    slate = draw_field(41, 640, 480, 55.0)[0]
    assert judged(slate) == ""
    assert assess(slate).faint_colour(QualityLimits())
    assert not assess(field).faint_colour(QualityLimits())
    assert FieldQuality("", {}).faint_colour(QualityLimits()), "no colour was measured"
    assert FieldQuality("", {"colour": float("nan")}).faint_colour(QualityLimits())


def test_cells_of_few_pixels_are_too_small() -> None:
    image = draw_field(11, 640, 480, cell_diameter_px=14)[0]
    quality = assess(image)
    assert quality.accepted
    cells = ClassicalFinder().find(image)
    assert assess_cells(cells, quality, 640, small=image).reason == "too-small"


def test_only_many_sure_single_cells_overrule_a_poor_separation(field: Image) -> None:
    quality = assess(field, QualityLimits(min_separation=0.999))
    assert quality.finder_decides
    side, cells = max(field.shape[:2]), ClassicalFinder().find(field)
    assert assess_cells(cells, quality, side, small=field).accepted
    assert assess_cells(cells[:3], quality, side, small=field).reason == "not-a-thin-smear"
    unsure = [replace(cell, score=0.5) for cell in cells]
    assert assess_cells(unsure, quality, side, small=field).reason == "not-a-thin-smear"
    # Cells that lie where nothing is stained vouch for nothing.
    blank = np.full_like(field, 220)
    cv2.circle(blank, (30, 30), 20, (120, 60, 140), cv2.FILLED)
    assert assess_cells(cells, quality, side, small=blank).reason == "not-a-thin-smear"


def test_a_field_of_which_the_finder_leaves_most_out_is_refused(field: Image) -> None:
    quality, side = assess(field), max(field.shape[:2])
    cells = ClassicalFinder().find(field)
    whole = assess_cells(cells, quality, side, small=field)
    assert whole.accepted
    assert whole.measures["explained_by_cells"] > 0.9
    few = assess_cells(cells[::3], quality, side, small=field)
    assert few.reason == "cells-missed"
    assert 0.2 < few.measures["explained_by_cells"] < 0.45
    assert few.reason in REASONS


def test_the_pale_red_cells_beside_dark_nuclei_are_asked_for_too(field: Image) -> None:
    image = pale_with_nuclei(field)
    ground, side = assess(image).ground, max(image.shape[:2])
    disc = np.ones((70, 70), bool)
    nuclei = [
        Cell((x - 35, y - 35, x + 35, y + 35), disc, "white-cell", False, "white-cell", 1.0)
        for x, y in NUCLEI.tolist()
    ]
    assert explained_share(nuclei, ground, side) < 0.45
    assert explained_share(nuclei, separation(strongest(absorbance(image)))[1], side) > 0.9
    assert explained_share(nuclei, None, side) == 1.0


def test_a_mostly_unlit_field_is_clipped(field: Image) -> None:
    shown = np.full((1200, 1600, 3), 10, np.uint8)
    shown[400:800, 500:1000] = field[:400, :500]
    correction = field_correction(shown)
    assert assess_light_path(correction).reason == "clipped"
    assert assess_light_path(field_correction(field)).accepted


def test_a_single_white_cell_is_no_field() -> None:
    image = np.full((720, 960, 3), 210, np.uint8)
    cv2.circle(image, (480, 360), 90, (170, 160, 205), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, (465, 350), 45, (70, 40, 120), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, (505, 385), 35, (80, 45, 125), cv2.FILLED, cv2.LINE_AA)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), np.uint8)
    assert judged(image) in ("no-cells", "not-a-thin-smear")


def test_a_haze_is_not_a_thin_smear() -> None:
    rng = np.random.default_rng(3)
    haze = sum(
        cv2.resize(
            rng.normal(0, 1, (n, n)).astype(np.float32), (960, 720), interpolation=cv2.INTER_CUBIC
        )
        for n in (9, 30, 90)
    )
    image = np.clip(170 + 12 * np.repeat(haze[:, :, None], 3, axis=2), 0, 255).astype(np.uint8)
    for x, y in rng.integers(40, 680, (9, 2)):
        cv2.circle(image, (int(x), int(y)), 22, (60, 30, 90), cv2.FILLED, cv2.LINE_AA)
    assert judged(image) == "not-a-thin-smear"


def test_limits_come_from_toml_and_unknown_names_are_refused(tmp_path: Path) -> None:
    assert load_config() == ScreenConfig(), "quality.toml and the records' defaults agree"
    path = tmp_path / "mine.toml"
    path.write_text("[quality]\nmin_focus = 99.0\n[verdict]\nmin_cells = 1000\n")
    config = load_config(path)
    assert config.quality.min_focus == 99.0
    assert config.verdict.min_cells == 1000
    assert config.quality.min_cover == QualityLimits().min_cover
    path.write_bytes("[quality]\r\nmin_focus = 99.0\r\n".encode("utf-8-sig"))
    assert load_config(path).quality.min_focus == 99.0, "as Notepad of Windows saves it"
    for text, hint in (
        ("[quality]\nsharpness = 1\n", "sharpness"),
        ("[quality]\nmin_focus = 'high'\n", "expected a number"),
        ("[quality]\nmin_focus = nan\n", "number"),
        ("[colour]\n", "colour"),
        ("[verdict]\nlevel = 0.9\n", "level"),
        ("[quality", "TOML"),
        ("x = " + "[" * 100_000, "TOML"),
        ("[quality]\nmin_focus = 1" + "0" * 400 + "\n", "expected a number"),
        ("[quality]\nmin_focus = inf\n", "expected a number"),
        ("[quality]\nmin_cells = 2.5\n", "expected a number"),
        ("[quality]\nmin_cells = true\n", "expected a number"),
        ("[motion]\nmin_new_share = 1.5\n", "min_new_share"),
        ("[report]\nannotated_fields = -1\n", "annotated_fields"),
        ("[report]\ngallery_cells = 1000000\n", "gallery_cells"),
        ("[source]\nframes_per_s = 0\n", "frames_per_s"),
        ("[source]\ncamera_timeout_s = -1\n", "camera_timeout_s"),
        ("[source]\nfollow_idle_s = -1\n", "follow_idle_s"),
        ("[source]\npoll_s = 0\n", "poll_s"),
        ("[camera]\nwidth_px = 4000000000\nheight_px = 1\n", "100,000 px"),
        ("[camera]\nfourcc = 'MJP\u00e9'\n", "four letters"),
        ("[camera]\nexposure = -1e12\n", "exposure"),
        ("[camera]\nframes_per_s = -1\n", "frames_per_s"),
        ("[camera]\nwhite_balance_k = 1e6\n", "white_balance_k"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=hint):
            load_config(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "# mine\n[report]\nlanguage = 'fr'\n\n[camera]\nwarm_up_s = -1\n",
            ":6: [camera] warm_up_s",
        ),
        ("[camera]\nfps = 3\n", ":2: [camera] fps"),
        ("\n[cameras]\nfps = 3\n", ":2: [cameras]"),
        ("[report]\nlanguage = 'de'\n", ":2: [report] language"),
        ("[motion]\nmin_new_share = 'much'\n", ":2: [motion] min_new_share"),
        ("[camera]\nfourcc = 7\n", ":2: [camera] fourcc"),
        ("[camera]\nwidth_px = 5\n", ":1: [camera]"),
        ("[camera\n", "line 1"),
    ],
)
def test_a_fault_is_named_with_its_line_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert told in str(caught.value) and str(path) in str(caught.value)


NUCLEI = np.random.default_rng(4).integers(60, 660, (9, 2))


def pale_with_nuclei(field: Image) -> Image:
    """Red cells of a third of their stain, and nuclei, which alone cross a cut between two."""
    out = np.clip(238 + (field.astype(np.float32) - 238) * 0.35, 0, 255).astype(np.uint8)
    for x, y in NUCLEI:
        cv2.circle(out, (int(x), int(y)), 32, (60, 30, 110), cv2.FILLED, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 1.0), np.uint8)


def sparse(field: Image) -> Image:
    """Few cells, at one side."""
    out = field.copy()
    out[:, 150:] = (240, 236, 240)
    return out


def dirty(field: Image) -> Image:
    """A black speck."""
    out = field.copy()
    cv2.circle(out, (480, 360), 18, (12, 12, 12), cv2.FILLED)
    return out


def shaded(field: Image) -> Image:
    """Lit for a good part of it, dark beyond a rim."""
    out = np.asarray(field // 20, np.uint8)
    out[:, 200:] = field[:, 200:]
    return out


# Limit -> lines of a --config beside which it decides, its value there, the picture, the reason.
UNVOUCHED = "vouch_score = 1.01\n"
POOR = "min_separation = 0.999\n"
# The classical finder finds the nuclei alone.
NUCLEI_FOUND = UNVOUCHED + "min_explained = 0.0\n"
DECIDED_BY = {
    "min_background": ("", 250.0, None, "too-dark"),
    "max_burnt": ("", -0.1, None, "too-bright"),
    "max_black": ("", 0.001, dirty, "clipped"),
    "min_lit": ("", 0.9, shaded, "clipped"),
    "min_colour": ("", 0.9, None, "no-colour"),
    "min_cover": ("", 0.9, None, "no-cells"),
    "max_cover": ("", 0.01, None, "too-dense"),
    "min_contrast": ("", 3.0, None, "no-cells"),
    "min_separation": (UNVOUCHED, 0.999, None, "not-a-thin-smear"),
    "sparse_cover": ("", 0.01, sparse, ""),
    "min_separation_rest": (NUCLEI_FOUND, 0.9999, pale_with_nuclei, "not-a-thin-smear"),
    "max_depth": (UNVOUCHED, 0.1, None, "not-a-thin-smear"),
    "min_focus": ("", 99.0, None, "out-of-focus"),
    "min_detail": ("", 9.0, None, "out-of-focus"),
    "max_rim": ("faint_rim = -9.0\n", 0.1, None, "out-of-focus"),
    "faint_rim": ("max_rim = 0.1\n", -9.0, None, "out-of-focus"),
    "min_red_to_green": ("", 1.9, None, "stain"),
    "max_red_to_green": ("", 0.01, None, "stain"),
    "max_blue_to_green": ("", 0.01, None, "stain"),
    "min_diameter_px": ("", 100.0, None, "too-small"),
    "vouch_cells": (POOR, 1000, None, "not-a-thin-smear"),
    "vouch_score": (POOR, 1.01, None, "not-a-thin-smear"),
    "vouch_explained": (POOR, 1.01, None, "not-a-thin-smear"),
    "vouch_filled": (POOR, 1.01, None, "not-a-thin-smear"),
    "min_explained": ("", 1.01, None, "cells-missed"),
    "min_cells": ("", 1000, None, "no-cells"),
    "min_counted_share": ("", 1.1, None, "too-dense"),
}


# It refuses no field: the slide of such fields is indeterminate.
REFUSES_NOTHING = {"sure_colour"}


@pytest.mark.parametrize(
    "name", sorted({item.name for item in fields(QualityLimits)} - REFUSES_NOTHING)
)
def test_a_limit_that_is_set_changes_what_is_refused(
    name: str, field: Image, tmp_path: Path
) -> None:
    """As ``screen --config`` does it: the same picture, with and without the line."""
    beside, value, change, reason = DECIDED_BY[name]
    view = view_of(field if change is None else change(field))
    said = []
    for line in ("", f"{name} = {value}\n"):
        path = tmp_path / "mine.toml"
        path.write_text("[quality]\n" + beside + line)
        judge = FieldJudge(ClassicalFinder(), load_config(path).quality)
        quality = judge.quality(view)
        if judge.cells_decide(quality):
            _, quality = judge.cells(view, view.corrected(), quality)
        said.append(quality.reason)
    assert said == ["" if reason else "out-of-focus", reason]


def test_all_thick_smears_are_refused(data_dir: Path) -> None:
    files = sorted((data_dir / "fields" / "thick_smears" / "images").iterdir())
    assert len(files) == 12
    accepted = [f.name for f in files if assess(read_image(f)).accepted]
    assert accepted == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iml", "bccd", "draaslan256", "chula", "bbbc041"])
def test_sensible_fields_of_the_report_third_are_accepted(data_dir: Path, name: str) -> None:
    files = sorted((data_dir / "fields" / name / "images").iterdir())[2::3][::4]
    reasons = [assess(read_image(f)).reason for f in files]
    refused = [r for r in reasons if r]
    assert len(refused) <= 0.05 * len(reasons) + 1, refused
