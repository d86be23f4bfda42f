"""Limits of quality: read from TOML, and each one changes what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ConfigError
from edge_malaria.records import Image
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.quality.field_quality import (
    QualityLimits,
)
from edge_malaria.runtime.screen.config import ScreenConfig, load_config
from edge_malaria.runtime.screen.field_judge import FieldJudge, view_of
from tests.runtime.quality.nuclei import pale_with_nuclei


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


@pytest.fixture(scope="module")
def without() -> dict[Any, str]:
    """What is said without a limit's own line: many limits share the picture and the rest."""
    return {}


@pytest.mark.parametrize(
    "name", sorted({item.name for item in fields(QualityLimits)} - REFUSES_NOTHING)
)
def test_a_limit_that_is_set_changes_what_is_refused(
    name: str, field: Image, without: dict[Any, str], tmp_path: Path
) -> None:
    """As ``screen --config`` does it: the same picture, with and without the line."""
    beside, value, change, reason = DECIDED_BY[name]
    picture = field if change is None else change(field)
    if (beside, change) not in without:
        without[beside, change] = said_of(picture, beside, tmp_path / "without.toml")
    assert without[beside, change] == ("" if reason else "out-of-focus")
    assert said_of(picture, f"{beside}{name} = {value}\n", tmp_path / "mine.toml") == reason


def said_of(picture: Image, lines: str, path: Path) -> str:
    """The reason for which the picture is refused under these lines of a --config, or none."""
    path.write_text("[quality]\n" + lines)
    view = view_of(picture)
    judge = FieldJudge(ClassicalFinder(), load_config(path).quality)
    quality = judge.quality(view)
    if judge.cells_decide(quality):
        _, quality = judge.cells(view, view.corrected(), quality)
    return quality.reason
