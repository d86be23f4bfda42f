"""A bundle with or without the slide's colour scaling in its contract, whatever it shipped with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from edge_malaria.bundle.format import write_index
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.stain import StainScaling


def with_contract(bundle: Path, target: Path, stain: StainScaling | None) -> Path:
    """A copy of ``bundle`` at ``target`` whose classifier names the step, or does not."""
    shutil.copytree(bundle, target)
    record = json.loads((target / "bundle.json").read_text(encoding="utf-8"))
    classifier = record["models"]["classifier"]
    size_px = classifier["preprocessing"]["size_px"]
    classifier["preprocessing"] = {**Preparation(size_px, stain=stain).as_json(), "in_graph": []}
    for key in ("format", "schema_version", "files"):
        record.pop(key)
    write_index(target, record)
    return target
