"""The state of a training run on disk: written whole after each epoch, read back to resume."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.errors import DataError
from edge_malaria.files import write_bytes

_LISTS = ("weights", "averaged", "optimizer", "best")


@dataclass(eq=False)
class State:
    """Everything that the next epoch depends on."""

    epoch: int
    weights: list[Any]
    averaged: list[Any]
    optimizer: list[Any]
    best: list[Any]
    best_epoch: int
    history: list[dict[str, float]]


def write_checkpoint(path: Path, state: State) -> None:
    """Writes ``state`` whole or not at all."""
    arrays: dict[str, Any] = {}
    for name in _LISTS:
        for index, value in enumerate(getattr(state, name)):
            arrays[f"{name}.{index:04d}"] = np.asarray(value)
    notes = {"epoch": state.epoch, "best_epoch": state.best_epoch, "history": state.history}
    arrays["notes"] = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_checkpoint(path: Path) -> State:
    """The inverse of ``write_checkpoint``.

    Raises:
        DataError: damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            notes = json.loads(stored["notes"].tobytes().decode())
            lists = {
                name: [stored[key] for key in sorted(stored.files) if key.startswith(f"{name}.")]
                for name in _LISTS
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"checkpoint {path} is damaged: start again without --resume.") from error
    return State(
        epoch=int(notes["epoch"]),
        best_epoch=int(notes["best_epoch"]),
        history=list(notes["history"]),
        **lists,
    )
