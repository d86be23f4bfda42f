"""Networks of keras.applications at 224 px: time, peak memory and verdict of their export.

    python -m benchmarks.own_models.applications --data DATASET [--work runs/applications]
        [--only NAME] [--float-only] [--random]

They start from random weights and are taught briefly on train cells, so that they are better than
chance: the figures are of the export, not of the networks. Eight bits may well be refused for such
weights; the verdict says so. MobileNetV2 is trained as a whole. A step of the two others takes too
long here: their features stay at random, batch norms take the cells' means and deviations, and the
last layer is fitted. Features of so many random layers tell nothing apart, unless the branches
beside the skip connections are quiet (Zhang, Dauphin and Ma 2019, arXiv 1901.09321). With
``--random`` they stay at random, which takes no training: the
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

from benchmarks.evidence_file import EVIDENCE, commit, write_evidence
from benchmarks.own_models.commands import timed
from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_json

COMMAND = "python -m benchmarks.own_models.applications --data DATASET"
SIDE = 224
TRAINED, EPOCHS, BATCH = 1000, 3, 16
# Of a network whose last layer alone is fitted: cells that it is fitted to, and how loud its
# branches are beside the skip connections.
FITTED, LOUDNESS = 600, 0.2
_SETTLING = 25  # batches


@dataclass(frozen=True)
class Application:
    """A network of keras.applications and what its published weights are fed.

    ``branch_ends``: how the last batch norm of each branch is called, where the last layer alone is
    fitted; empty where the whole network is trained.
    """

    maker: str
    input_range: str
    colour: str = "rgb"
    branch_ends: str = ""


APPLICATIONS: Mapping[str, Application] = {
    "mobilenetv2": Application("MobileNetV2", "-1-1"),
    "efficientnetb0": Application("EfficientNetB0", "0-255", branch_ends="_project_bn"),
    "resnet50": Application("ResNet50", "caffe", "bgr", branch_ends="_3_bn"),
}


def make(name: str, data: Path, path: Path, taught: bool = True) -> None:
    """Makes one network of random weights, teaches it briefly, and saves it."""
    import keras

    from edge_malaria.export.importers.scaling import scaling_of
    from edge_malaria.prepare.contract import Preparation
    from edge_malaria.prepare.preprocess import network_inputs

    one, dataset = APPLICATIONS[name], open_dataset(data)
    keras.utils.set_random_seed(0)
    body = getattr(keras.applications, one.maker)(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), pooling="avg"
    )
    head = keras.layers.Dense(1)
    model = keras.Model(body.input, head(body.output), name=name)
    if not taught:
        model.save(path)
        return
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # so few steps settle it
            if one.branch_ends and layer.name.endswith(one.branch_ends):
                layer.gamma.assign(layer.gamma * LOUDNESS)
    count = FITTED if one.branch_ends else TRAINED
    chosen = dataset.select("train").thinned(count)
    cells = network_inputs([dataset.read(row) for row in chosen.rows], Preparation(SIDE, "linear"))
    pixels = scaling_of(one.input_range, one.colour).apply(cells)
    truth = np.array([row.label == 1 for row in chosen.rows], np.float32)
    if one.branch_ends:
        _fit_last_layer(body, head, pixels, truth)
    else:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss)
        model.fit(pixels, truth, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    model.save(path)


def _fit_last_layer(body: Any, head: Any, pixels: Any, truth: Any) -> None:
    """Settles the batch norms of ``body``, then fits ``head`` to what it gives; truth 0/1 [N]."""
    import tensorflow as tf

    mixed = np.random.default_rng(0).permutation(len(pixels))
    batches = [pixels[mixed[start : start + BATCH]] for start in range(0, len(mixed), BATCH)]
    settle = tf.function(lambda x: body(x, training=True), reduce_retracing=True)
    look = tf.function(lambda x: body(x, training=False), reduce_retracing=True)
    for batch in batches[:_SETTLING]:
        settle(batch)
    features = np.concatenate([look(batch).numpy() for batch in batches]).astype(np.float64)
    weights, bias = ridge(features, 2.0 * truth[mixed] - 1.0)
    # Logits of a few units, as sure as such a network may be.
    head.set_weights([3.0 * weights[:, None], 3.0 * bias])


def ridge(features: Any, wanted: Any) -> tuple[Any, Any]:
    """Weights [F] and bias [1] that give ``wanted`` [N] from float64 [N, F].

    The penalty is that of the smallest error on cells left out one by one.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    left, sizes, right = np.linalg.svd((features - mean) / spread, full_matrices=False)
    centred = wanted - wanted.mean()

    def missed(penalty: float) -> float:
        kept = sizes**2 / (sizes**2 + penalty)
        given = (left * kept) @ (left.T @ centred)
        leverage = (left**2 * kept).sum(axis=1) + 1.0 / len(wanted)
        return float((((centred - given) / (1.0 - leverage)) ** 2).mean())

    penalty = min(10.0 ** np.arange(-1, 6), key=missed)
    weights = right.T @ (sizes / (sizes**2 + penalty) * (left.T @ centred)) / spread
    return weights, np.array([wanted.mean() - mean @ weights])


def measured(
    name: str, data: Path, work: Path, *, float_only: bool, random: bool
) -> dict[str, Any]:
    """One network through the export, in a process of its own."""
    one, path = APPLICATIONS[name], work / f"{name}{'-random' if random else ''}.keras"
    if not path.is_file():
        given = (name, data, path, not random)
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
        "cells_trained_on": 0 if random else FITTED if one.branch_ends else TRAINED,
        "last_layer_alone": bool(one.branch_ends) and not random,
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
    stored = EVIDENCE / "own_models_large.json"
    rows = json.loads(stored.read_text(encoding="utf-8"))["models"] if stored.is_file() else {}
    for name in APPLICATIONS:
        row = f"{name}, random" if given.random else name
        kept = given.work / f"{row}.json"
        if not kept.is_file() and given.only in (None, name):
            options = {"float_only": given.float_only, "random": given.random}
            write_json(kept, measured(name, given.data, given.work, **options))
        if kept.is_file():
            rows[row] = json.loads(kept.read_text(encoding="utf-8"))
            print(row, json.dumps(rows[row])[:400], flush=True)
            # Networks that were not measured now keep what was measured before.
            models = {key: rows[key] for key in sorted(rows, key=_place)}
            write_evidence("own_models_large", COMMAND, {"models": models}, seed=0)


def _place(row: str) -> tuple[int, str]:
    """Networks in their order; each with random weights after it was taught."""
    return list(APPLICATIONS).index(row.split(",")[0]), row


if __name__ == "__main__":
    main()
