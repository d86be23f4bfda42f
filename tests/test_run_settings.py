"""A run goes on under the settings that it was started with, and under no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_malaria.errors import ConfigError
from edge_malaria.run_settings import refuse_other_settings


def test_other_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"seed": 0, "folds": [0, 1], "epochs": 3}))
    refuse_other_settings(path, {"seed": 0, "folds": (0, 1), "epochs": 3})
    with pytest.raises(ConfigError, match="another epochs, seed: repeat the same options"):
        refuse_other_settings(path, {"seed": 1, "folds": (0, 1), "epochs": 4})


def test_a_setting_that_is_newer_than_the_file_had_its_default(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"seed": 0}))
    refuse_other_settings(path, {"seed": 0, "plain": 0.0}, {"plain": 0.0})
    with pytest.raises(ConfigError, match="plain"):
        refuse_other_settings(path, {"seed": 0, "plain": 0.5}, {"plain": 0.0})


def test_nothing_was_started_where_the_file_is_missing(tmp_path: Path) -> None:
    refuse_other_settings(tmp_path / "settings.json", {"seed": 0})
    assert not list(tmp_path.iterdir())
