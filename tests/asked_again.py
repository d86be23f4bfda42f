"""A bundle that asks flagged cells again, or does not, whatever it shipped with."""

from __future__ import annotations

import json
from pathlib import Path

from edge_malaria.bundle.format import write_index
from tests.second import without_second


def with_views(bundle: Path, target: Path, views: int) -> Path:
    """A copy of ``bundle`` at ``target`` whose flagged cells are asked in ``views`` views."""
    without_second(bundle, target)
    record = json.loads((target / "bundle.json").read_text(encoding="utf-8"))
    decision = record["models"]["classifier"]["decision"]
    if views != 1:
        decision["flagged_views"] = views
    for key in ("format", "schema_version", "files"):
        record.pop(key)
    write_index(target, record)
    return target
