"""Networks of others through ``prune``: accuracy, bytes, work and time before and after.

Called by ``benchmarks.own_models.given``. Each is pruned as a user would, by the command and the
contract in its TOML, on some thousand train cells; what comes out is exported with ``--int8`` and
judged on all val cells. Times are processor time of one thread, the fastest of several turns taken
in between each other, so that other work on the machine matters little.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_models.commands import timed
from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import Dataset
from edge_malaria.files import write_image, write_text
from edge_malaria.runtime.engines.opening import open_engine

TRAIN_CELLS, VAL_CELLS = 8000, 1000
KEEP = 0.5
SCHEDULE = ("--target", "macs", "--keep", KEEP, "--rounds", 2, "--epochs", 3, "--fine-tune", 3)
_TIMED_CELLS, _TURNS = 64, 25


def measured(model: Path, contract: tuple[str, ...], data: Path, cells: Path, work: Path) -> Any:
    """Prunes one network and exports what comes out.

    Args:
        model: the file; its contract is written beside a copy of it.
        contract: as options of ``export``.
        data: the whole data set, whose val cells judge.
        cells: the folder of ``thinned``.
        work: for what is made.

    Returns:
        What the command said where it refused; else also the measures before and after.
    """
    copied = Path(shutil.copy(model, work / model.name))
    write_text(copied.with_suffix(".toml"), as_toml(contract))
    smaller, bundle = work / f"{model.stem}-pruned.keras", work / f"{model.stem}-pruned-bundle"
    environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    made = ("-o", smaller, "--force", "--json")
    ran = timed("prune", copied, "--data", cells, *SCHEDULE, *made, environment=environment)
    row: dict[str, Any] = {"prune": ran, "train_cells": TRAIN_CELLS, "keep": KEEP}
    if ran["exit"]:
        return row
    said = json.loads(ran["out"])
    row["before"], row["after"] = said["before"], said["after"]
    out = ("-o", bundle, "--force", "--json")
    row["export"] = timed("export", smaller, "--int8", "--data", data, *out)
    if row["export"]["exit"]:
        return row
    figures = json.loads(row["export"]["out"])["evaluation"]
    row |= {key: figures[key] for key in ("variant", "n", "accuracy", "auc")}
    file = read_bundle(bundle).classifier.file(figures["variant"], "litert")
    row["file_bytes"] = file.bytes
    files = {"before": _int8_of(copied), "after": (bundle / file.file).read_bytes()}
    row["cell_ms"] = fastest_ms(files)
    return row


def as_toml(contract: tuple[str, ...]) -> str:
    """``--input-range 0-1 ...`` as the TOML beside a model."""
    lines = []
    for name, value in zip(contract[::2], contract[1::2], strict=True):
        key = name.removeprefix("--").replace("-", "_")
        words = json.dumps(value.split(",") if key == "classes" else value)
        lines.append(f"{key} = {words}")
    return "\n".join(lines) + "\n"


def thinned(dataset: Dataset, folder: Path) -> Path:
    """Some train and val cells of ``dataset`` as a folder with its patients.csv."""
    lines = ["file,class,patient_id,split"]
    for split, count in (("train", TRAIN_CELLS), ("val", VAL_CELLS)):
        for index, row in enumerate(dataset.select(split).thinned(count).rows):
            name, label = f"{split}{index}.png", ("Uninfected", "Parasitized")[row.label]
            write_image(folder / label / name, dataset.read(row))
            lines.append(f"{name},{label},{row.patient_id},{split}")
    write_text(folder / "patients.csv", "\n".join(lines) + "\n")
    return folder


def _int8_of(model: Path) -> bytes:
    """The network's int8 file with ranges from noise: its time does not depend on them."""
    from converters.to_tflite import convert
    from edge_malaria.export.load import load_source

    network = load_source(str(model)).plain
    side = int(network.input_shape[1])
    noise = np.random.default_rng(0).integers(0, 256, (16, side, side, 3), dtype=np.uint8)
    return convert(network, "int8", noise)


def fastest_ms(files: dict[str, bytes]) -> dict[str, float]:
    """Processor time of one cell in each int8 file on LiteRT, one thread, ms."""
    runs: dict[str, Callable[[], object]] = {}
    for name, data in files.items():
        engine = open_engine(data, "litert", 1)
        batch = np.random.default_rng(0).integers(
            0, 256, (_TIMED_CELLS, *engine.input.shape), dtype=np.uint8
        )
        runs[name] = lambda engine=engine, batch=batch: engine.run_raw(batch)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_TURNS):
        for name, run in runs.items():
            began = time.process_time()
            run()
            times[name].append(time.process_time() - began)
    # The first turns set memory up; whatever else the machine does only adds time.
    return {name: 1000.0 * min(found[2:]) / _TIMED_CELLS for name, found in times.items()}
