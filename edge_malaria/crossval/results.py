"""One fold's predictions, kept on disk so that an interrupted cross-validation goes on."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DataError
from edge_malaria.files import write_bytes

Logits = NDArray[np.float32]
History = dict[str, list[dict[str, float]]]


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold's predictions.

    Attributes:
        fold: its number.
        held_out: indices into the data set's rows, [N].
        logits: float32 [N] of the deployed network for those rows.
        keras_logits: float32 [N] of the float network.
        temperature, bias: fitted on the inner patients.
        inner_logits, inner_labels: the inner patients', [M].
    """

    fold: int
    held_out: NDArray[np.int64]
    logits: Logits
    keras_logits: Logits
    temperature: float
    bias: float
    inner_logits: Logits
    inner_labels: NDArray[np.int64]


def read_histories(run: Path, folds: Sequence[int]) -> dict[int, History]:
    """The learning curves of the folds under ``run``; a fold of an older run may have none."""
    found = {}
    for fold in folds:
        path = run / f"fold{fold}" / "history.json"
        if path.is_file():
            try:
                found[fold] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(f"{path} is damaged ({error}). Remove {path.parent}.") from error
    return found


def write_result(path: Path, result: FoldResult) -> None:
    """Writes one fold's predictions whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **{f.name: getattr(result, f.name) for f in dataclasses.fields(result)})
    write_bytes(path, buffer.getvalue())


def read_result(path: Path) -> FoldResult:
    """The inverse of ``write_result``.

    Raises:
        DataError: damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            values: dict[str, Any] = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged: delete it and run again.") from error
    for name, kind in (("fold", int), ("temperature", float), ("bias", float)):
        values[name] = kind(values[name])
    return FoldResult(**values)
