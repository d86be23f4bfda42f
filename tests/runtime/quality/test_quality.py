"""Quality: drawn fields pass, spoilt ones are refused by name, real thick smears all are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ConfigError
from edge_malaria.files import read_image
from edge_malaria.records import Image
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.quality.field_quality import REASONS, QualityLimits, assess, assess_cells
from edge_malaria.runtime.screen.config import ScreenConfig, load_config
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
    for text, hint in (
        ("[quality]\nsharpness = 1\n", "sharpness"),
        ("[quality]\nmin_focus = 'high'\n", "expected a number"),
        ("[quality]\nmin_focus = nan\n", "number"),
        ("[colour]\n", "colour"),
        ("[verdict]\nlevel = 0.9\n", "level"),
        ("[quality", "TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=hint):
            load_config(path)


def test_a_stricter_limit_refuses(field: Image) -> None:
    assert assess(field).accepted
    refused = assess(field, QualityLimits(min_separation=0.999))
    assert refused.reason == "not-a-thin-smear"


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
