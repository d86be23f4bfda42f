"""Each preprocessing option through the real export: in the files, in the contract, past the gate.

Float files must pass. Whitening carries its int8 ranges: that file passes, or the gate refuses it
and leaves nothing behind. The other options have none of their own, and export says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.errors import GateFailed, UsageError
from edge_malaria.export import Options, export_bundle
from edge_malaria.keras_layers import keras, strip_fake_quant
from edge_malaria.records import Image
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.cells import load_renderings
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.preprocessing import OPTIONS, with_preprocessing
from edge_malaria.training.quantization.quantize_aware import finish, prepare
from tests.networks import spot_network
from tests.training.baselines.test_baselines import write_cells

NAMES = {
    "centre": "centre-per-image",
    "lcn": "local-contrast-normalization",
    "whiten": "whitening",
}


def decided(model: Any, inputs: Image) -> Any:
    """The model with its last layer scaled so that the gate's cells lie around the threshold."""
    logits = predict(model, inputs)
    gain = 1.5 / float(np.std(logits))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * gain, (bias - np.median(logits)) * gain])
    return model


@pytest.mark.long
@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_option_travels_in_the_bundle(option: str, tmp_path: Path) -> None:
    dataset = open_dataset(write_cells(tmp_path))
    train = load_renderings(dataset.select("train"), 48)["full"]
    plain = with_preprocessing(strip_fake_quant(spot_network()), option, train.inputs)
    model = decided(plain, train.inputs)
    path = tmp_path / f"{option}.keras"
    model.save(path)
    out = tmp_path / "bundle"
    export_bundle(str(path), out, Options(variants=("float32",)))
    record = read_bundle(out).classifier.record
    assert record["preprocessing"]["in_graph"] == [NAMES[option]]
    assert record["gate"]["passed"]
    with pytest.raises(UsageError, match="carries no int8 ranges"):
        export_bundle(str(path), tmp_path / "int8", Options(variants=("int8",)))
    assert not (tmp_path / "int8").exists()


@pytest.mark.long
def test_whitening_with_ranges_passes_or_leaves_nothing(tmp_path: Path) -> None:
    train = load_renderings(open_dataset(write_cells(tmp_path)).select("train"), 48)["full"]
    keras.utils.set_random_seed(0)
    model = with_preprocessing(build("fast50", 48), "whiten", train.inputs)
    model = decided(model, train.inputs)
    path = tmp_path / "whiten.keras"
    finish(prepare(model, train.inputs), model).save(path)
    out = tmp_path / "bundle"
    reason = ""
    try:
        export_bundle(str(path), out, Options(variants=("float32", "int8")))
    except GateFailed as refused:
        reason = str(refused)
    if reason:
        assert "int8" in reason and "float32:" not in reason
        assert not out.exists()
    else:
        assert read_bundle(out).classifier.record["preprocessing"]["in_graph"] == ["whitening"]
