"""A bundle with a second network, small enough that both are soon exported and compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.made_once import made_once


@pytest.fixture(scope="session")
def models(tiny_keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network beside itself, the second one with a calibration of its own."""
    folder = tmp_path_factory.mktemp("models")
    own = {"temperature": 1.4, "bias": 0.3}
    for name, decision in (("tiny", {"second": {"from": 0.1}}), ("second", own)):
        shutil.copy(tiny_keras, folder / f"{name}.keras")
        (folder / f"{name}.json").write_text(json.dumps({"decision": decision}))
    return folder


@pytest.fixture(scope="session")
def asking(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of both, by the real export."""
    from edge_malaria.export import Options, export_bundle

    def export(made: Path) -> None:
        lines: list[str] = []
        options = Options(variants=("float32", "int8"))
        export_bundle(str(models / "tiny.keras"), made, options, log=lines.append)
        assert any(line.startswith("second    gate      passed") for line in lines)

    return made_once(tmp_path_factory, "asking", export)
