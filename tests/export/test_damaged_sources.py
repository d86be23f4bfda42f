"""Files beside and inside a model of others that are damaged, or nested deeper than Python goes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edge_malaria.bundle.contents import expect_replaceable
from edge_malaria.errors import ConfigError, DataError, OutputExists
from edge_malaria.export import Options, export_bundle
from edge_malaria.export.importers.contract import read_toml
from edge_malaria.export.load import is_own
from edge_malaria.run_settings import refuse_other_settings

DEEP = "[" * 100_000


@pytest.mark.parametrize("config", ["{", "[1]", "7", DEEP])
def test_a_damaged_keras_file_is_left_to_its_loader_to_name(config: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
    assert is_own(path)


@pytest.mark.parametrize("text", ["x = " + DEEP, "[", "\udcff"])
def test_a_contract_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"theirs\.toml is not readable"):
        read_toml(tmp_path / "theirs.h5")


@pytest.mark.parametrize("text", ["{", "[1]", "null", DEEP])
def test_settings_of_a_run_that_are_damaged_are_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises((DataError, ConfigError), match=r"settings\.json is damaged"):
        refuse_other_settings(path, {"seed": 1})


def test_nothing_but_a_bundle_is_written_over(tmp_path: Path, shipped_bundle: Path) -> None:
    cells = tmp_path / "cells" / "Parasitized" / "1.png"
    cells.parent.mkdir(parents=True)
    cells.write_bytes(b"a cell")
    for path in (tmp_path / "cells", cells):
        with pytest.raises(OutputExists, match="is no bundle: it is kept"):
            export_bundle("default", path, Options(force=True))
    assert cells.read_bytes() == b"a cell"
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new", shipped_bundle):
        expect_replaceable(path)
