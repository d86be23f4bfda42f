"""Networks of keras.applications at 224 px: time, peak memory and verdict of their export.

    python -m benchmarks.own_models.applications --data DATASET [--work runs/applications]
        [--only NAME] [--float-only] [--random]

They start from random weights and are trained briefly on train cells, so that they are better than
chance: the figures are of the export, not of the networks. Eight bits may well be refused for such
weights; the verdict says so. With ``--random`` they stay at random, which takes no training: the
export must refuse them before it converts anything. Resumable. Writes
docs/evidence/own_models_large.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import commit, write_evidence
from benchmarks.own_models.given import timed
from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_json

COMMAND = "python -m benchmarks.own_models.applications --data DATASET"
SIDE = 224
# Features of random weights alone, with a fitted last layer, are no better than chance.
TRAINED, EPOCHS, BATCH = 1000, 3, 16


@dataclass(frozen=True)
class Application:
    """A network of keras.applications and what its published weights are fed."""

    maker: str
    input_range: str
    colour: str = "rgb"


APPLICATIONS: Mapping[str, Application] = {
    "mobilenetv2": Application("MobileNetV2", "-1-1"),
    "efficientnetb0": Application("EfficientNetB0", "0-255"),
    "resnet50": Application("ResNet50", "caffe", "bgr"),
}


def make(name: str, data: Path, path: Path, count: int = TRAINED, epochs: int = EPOCHS) -> None:
    """Trains one network briefly on ``count`` train cells (0: not at all) and saves it."""
    import keras

    from edge_malaria.export.importers.contract import scaling_of
    from edge_malaria.prepare.contract import Preparation
    from edge_malaria.prepare.preprocess import network_inputs

    one, dataset = APPLICATIONS[name], open_dataset(data)
    keras.utils.set_random_seed(0)
    body = getattr(keras.applications, one.maker)(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), pooling="avg"
    )
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # so few steps settle it
    model = keras.Model(body.input, keras.layers.Dense(1)(body.output), name=name)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    if not count:
        model.save(path)
        return
    chosen = dataset.select("train").thinned(count)
    cells = network_inputs([dataset.read(row) for row in chosen.rows], Preparation(SIDE, "linear"))
    pixels = scaling_of(one.input_range, one.colour).apply(cells)
    truth = np.array([row.label == 1 for row in chosen.rows], np.float32)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    model.fit(pixels, truth, batch_size=BATCH, epochs=epochs, verbose=0)
    model.save(path)


def measured(
    name: str, data: Path, work: Path, *, float_only: bool, random: bool
) -> dict[str, Any]:
    """One network through the export, in a process of its own."""
    one, path = APPLICATIONS[name], work / f"{name}.keras"
    if not path.is_file():
        given = (name, data, path, 0 if random else TRAINED)
        maker = multiprocessing.get_context("spawn").Process(target=make, args=given)
        maker.start()
        maker.join()
    contract = ("--input-range", one.input_range, "--colour", one.colour, "--resize", "linear")
    classes = ("--classes", "Uninfected,Parasitized")
    call = ("export", path, "--data", data, *contract, *classes, "--no-fine-tune", "--json")
    out = ("-o", work / f"{name}-bundle", "--force")
    ran = timed(*call, *out, *(() if float_only else ("--int8",)))
    said = ran.pop("out")
    row = {
        "commit": commit(),
        "float_only": float_only,
        "cells_trained_on": 0 if random else TRAINED,
        "export": ran,
    }
    if ran["exit"] == 0:
        document = json.loads(said)
        row["accuracy"] = document["evaluation"]["accuracy"]
        row["bytes"] = {file["file"]: file["bytes"] for file in document["files"]}
    return row


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/applications"))
    parser.add_argument("--only", choices=list(APPLICATIONS), help="Measure this network alone.")
    parser.add_argument("--float-only", action="store_true", help="Leave out --int8.")
    parser.add_argument("--random", action="store_true", help="Leave the weights at random.")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name in APPLICATIONS:
        kept = given.work / f"{name}.json"
        if not kept.is_file() and given.only in (None, name):
            options = {"float_only": given.float_only, "random": given.random}
            write_json(kept, measured(name, given.data, given.work, **options))
        if kept.is_file():
            rows[name] = json.loads(kept.read_text(encoding="utf-8"))
            print(name, json.dumps(rows[name])[:400], flush=True)
            write_evidence("own_models_large", COMMAND, {"models": rows}, seed=0)


if __name__ == "__main__":
    main()
