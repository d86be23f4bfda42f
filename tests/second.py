"""A bundle with a second network, whatever shipped, and one without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge_malaria.bundle.contents import SECOND
from edge_malaria.bundle.format import write_index

# What write_index makes anew.
_HEAD = ("format", "schema_version", "files")


def with_second(bundle: Path, target: Path, asked_from: float = 0.1, **calibration: float) -> Path:
    """A copy of ``bundle`` at ``target`` that asks another copy of itself about flagged cells.

    ``calibration``: ``temperature`` and ``bias`` of the second one, where they are to be others.
    """
    without_second(bundle, target)
    second = target / SECOND
    without_second(bundle, second)
    _change(second, lambda decision: decision.update(calibration))
    _change(target, lambda decision: decision.update(second={"from": asked_from}))
    return target


def without_second(bundle: Path, target: Path) -> Path:
    """A copy of ``bundle`` at ``target`` whose first answers decide."""
    shutil.copytree(bundle, target, ignore=shutil.ignore_patterns(SECOND))

    def asks_nobody(decision: dict[str, Any]) -> None:
        decision.pop("second", None)
        decision.pop("flagged_views", None)

    _change(target, asks_nobody)
    return target


def _change(bundle: Path, change: Any) -> None:
    record = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    change(record["models"]["classifier"]["decision"])
    write_index(bundle, {key: value for key, value in record.items() if key not in _HEAD})
