"""Writes a bundle's golden cells, Keras's answers to them, and those of every file.

``golden.py`` says what is stored and reads it. Called by the export only.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import FOLDER, GoldenCells, mistake_rows
from edge_malaria.files import write_bytes
from edge_malaria.runtime.classify.flagged_views import mean_logits
from edge_malaria.runtime.engines.base import Engine

Logits = Callable[[Any], NDArray[np.float32]]

# What a network is told when a mistake is made between the pixels and it: float32 pixel values.
MISTAKES: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "red and blue swapped (BGR instead of RGB)": lambda x: x[..., ::-1],
    "1/255 applied twice": lambda x: x / 255.0,
    "1/255 missing": lambda x: x * 255.0,
    "pixel - 128 fed to a float network": lambda x: x - 128.0,
    "pixels scaled to -1..1 instead of 0..1": lambda x: 2.0 * x - 255.0,
    "rows and columns swapped": lambda x: x.transpose(0, 2, 1, 3),
    "colours inverted": lambda x: 255.0 - x,
}


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(values).reshape(len(values), -1)[:, 0]


def pack_arrays(arrays: Mapping[str, Any]) -> bytes:
    """An .npz whose bytes depend on its contents alone (no dates)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def write_goldens(
    directory: Path,
    cells: GoldenCells,
    logits: Logits,
    *,
    flagged_views: bool = False,
    second: Logits | None = None,
) -> None:
    """Writes the cells, the crops and Keras's outputs below ``directory/golden``.

    Call before anything is converted; then ``write_engine_goldens`` for every file.

    Args:
        directory: the bundle's directory.
        cells: from ``draw_golden_cells``.
        logits: the reference, as for ``draw_golden_cells``; must take float32 pixel values too.
        flagged_views: store the mean logits of eight views too.
        second: the second network on the scale of the first; its logits are stored too.

    Raises:
        StorageError: disk full or not writable.
    """
    folder = directory / FOLDER
    write_bytes(
        folder / "cells.npz",
        pack_arrays(
            {
                "inputs": cells.inputs,
                "near": cells.near,
                "truth": cells.truth,
                "threshold_logit": np.float64(cells.threshold_logit),
                "seed": np.int64(cells.seed),
            }
        ),
    )
    for crop in cells.crops:
        write_bytes(folder / "crops" / f"{crop.name}.png", crop.png)
        write_bytes(folder / "crops" / f"{crop.name}.mask.png", crop.mask_png)
    names = np.array([crop.name for crop in cells.crops])
    inputs = pack_arrays({"names": names, "inputs": cells.crop_inputs})
    write_bytes(folder / "crops" / "inputs.npz", inputs)
    outputs = _keras_outputs(cells, logits)
    if flagged_views:
        outputs["averaged"] = mean_logits(
            cells.inputs, lambda batch: _flat(logits(batch)), outputs["logits"]
        )
    if second is not None:
        outputs["second"] = _flat(second(cells.inputs)).astype(np.float32)
    write_bytes(folder / "keras.npz", pack_arrays(outputs))


def _keras_outputs(cells: GoldenCells, logits: Logits) -> dict[str, Any]:
    pixels = cells.inputs[mistake_rows(len(cells.inputs))].astype(np.float32)
    outputs: dict[str, Any] = {
        "logits": _flat(logits(cells.inputs)).astype(np.float32),
        "crop_logits": _flat(logits(cells.crop_inputs)).astype(np.float32),
        "cells_sha256": cells.sha256,
        "mistakes": np.array(list(MISTAKES)),
    }
    for index, mistake in enumerate(MISTAKES.values()):
        wrong = np.ascontiguousarray(mistake(pixels), np.float32)
        outputs[f"mistake_{index}"] = _flat(logits(wrong)).astype(np.float32)
    return outputs


def write_engine_goldens(
    directory: Path, cells: GoldenCells, engine: Engine, variant: str, model_sha256: str
) -> None:
    """Stores what one model file gives on the golden cells, for other machines to compare with."""
    outputs = {
        "raw": _flat(engine.run_raw(cells.inputs)),
        "crop_raw": _flat(engine.run_raw(cells.crop_inputs)),
        "cells_sha256": cells.sha256,
        "model_sha256": model_sha256,
    }
    write_bytes(directory / FOLDER / f"{engine.name}.{variant}.npz", pack_arrays(outputs))
