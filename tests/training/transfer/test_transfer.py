"""Starting from other weights: folded inputs, frozen bodies."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.cli.app import run
from edge_malaria.data.dataset import Row
from edge_malaria.errors import (
    ConfigError,
    ModelFileError,
    ModelShapeError,
    UsageError,
)
from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.transfer.transfer import (
    Start,
    body_layers,
    fit_float,
    freeze_body,
    unfreeze,
)
from edge_malaria.training.transfer.weights import (
    adapt_input,
    applications,
    copy_matching,
    load_weights,
)


def random_application(arch: str, size: int) -> Any:
    """A keras.applications body with lively random weights."""
    keras.utils.set_random_seed(3)
    body = applications()[arch].make(include_top=False, weights=None, input_shape=(size, size, 3))
    rng = np.random.default_rng(0)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    return body


@pytest.mark.parametrize(
    ("arch", "size", "mode", "inside"),
    [
        ("vgg16", 32, "caffe", slice(2, -2)),
        # Keras builds their hundreds of layers for seconds.
        pytest.param("resnet50", 32, "caffe", slice(2, -2), marks=pytest.mark.long),
        pytest.param("densenet121", 32, "torch", slice(2, -2), marks=pytest.mark.long),
        pytest.param("xception", 71, "tf", slice(None), marks=pytest.mark.long),
    ],
)
def test_imagenet_preparation_is_folded_into_the_first_convolution(
    arch: str, size: int, mode: str, inside: slice, tmp_path: Path
) -> None:
    from keras.src.applications.imagenet_utils import preprocess_input

    body = random_application(arch, size)
    path = tmp_path / "notop.weights.h5"
    body.save_weights(path)
    application = applications()[arch]
    model = build(arch, size)
    assert load_weights(model, arch, str(path)) > 10
    pixels = np.random.default_rng(1).integers(0, 256, (2, size, size, 3)).astype(np.float32)
    behind = application.norm or application.first
    theirs = keras.Model(body.input, body.get_layer(behind).output)
    ours = keras.Model(model.input, model.get_layer(behind).output)
    expected = np.asarray(theirs(preprocess_input(pixels.copy(), mode=mode), training=False))
    found = np.asarray(ours(pixels, training=False))
    if application.norm is None:
        # keras.applications fuses VGG's rectifier into the convolution; here it is a layer.
        found, expected = np.maximum(found, 0.0), np.maximum(expected, 0.0)
    scale = float(np.abs(expected).max())
    assert np.abs(found - expected)[:, inside, inside].max() < 2e-4 * scale


def test_adapting_changes_the_first_convolution_alone() -> None:
    body = random_application("vgg16", 32)
    before = {layer.name: layer.get_weights() for layer in body.layers}
    adapt_input(body, applications()["vgg16"])
    for layer in body.layers:
        same = all(
            np.array_equal(a, b)
            for a, b in zip(before[layer.name], layer.get_weights(), strict=True)
        )
        assert same == (layer.name != "block1_conv1")


def test_weights_that_do_not_exist_or_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ImageNet weights for 'fast50'"):
        load_weights(build("fast50", 16), "fast50", "imagenet")
    with pytest.raises(ModelFileError, match="does not exist"):
        load_weights(build("vgg16", 32), "vgg16", str(tmp_path / "absent.h5"))
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"no weights")
    with pytest.raises(ModelFileError, match="no weights file of vgg16"):
        load_weights(build("vgg16", 32), "vgg16", str(damaged))
    with pytest.raises(UsageError, match="no layer fits"):
        copy_matching(build("fast50", 16), build("vgg16", 32), "fast50.keras")


def test_without_a_network_imagenet_is_one_line_and_exit_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A proxy that nobody listens on blocks every way out; Keras has kept nothing from before.
    # urllib keeps the proxies of its first call; no later test may find these.
    monkeypatch.setattr(urllib.request, "_opener", None)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    model = build("vgg16", 32)
    assert run(lambda: load_weights(model, "vgg16", "imagenet"), debug=False) == 3
    said = capsys.readouterr().err
    (line,) = [text for text in said.splitlines() if text.startswith("error: ")]
    assert "optional" in line and "--weights" in line
    assert "Traceback" not in said


def cells_of(side: int = 32, count: int = 32) -> tuple[Examples, CellSet]:
    rng = np.random.default_rng(0)
    labels = (np.arange(count) % 2).astype(np.int64)
    pixels = rng.integers(0, 100, (count, side, side, 3)) + labels[:, None, None, None] * 120
    rows = tuple(Row(f"{i}.png", int(y), patient_id=f"P{i % 5}") for i, y in enumerate(labels))
    inputs = pixels.astype(np.uint8)
    return Examples((inputs,), labels.astype(np.float32)), CellSet(inputs, labels, rows)


def weights_of(model: Any) -> dict[str, list[Any]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def changed(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> set[str]:
    return {
        name
        for name in before
        if not all(np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True))
    }


def test_a_frozen_body_keeps_every_weight_and_the_top_learns() -> None:
    train, val = cells_of()
    start = Start(freeze_body=True)
    model = start.network("micro", train)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms, "their means and variances must stay too"
    before = weights_of(model)
    stages: list[str] = []
    trained, history = fit_float(
        model,
        train,
        val,
        Recipe(epochs=2, batch=8),
        start,
        report=lambda stage, entry: stages.append(stage),
    )
    assert changed(before, weights_of(trained)) == {"logit"}
    assert list(history) == ["top"] and stages == ["top", "top"]


def test_unfreezing_moves_the_body_and_leaves_the_whitening(tmp_path: Path) -> None:
    train, val = cells_of(16)
    start = Start(freeze_body=True, unfreeze_epochs=1, preprocess="whiten")
    model = start.network("fast50", train)
    before = weights_of(model)
    trained, history = fit_float(model, train, val, Recipe(epochs=1, batch=8), start, tmp_path)
    moved = changed(before, weights_of(trained))
    assert "block1_conv" in moved and "input_whiten" not in moved
    assert list(history) == ["top", "float"]
    assert {path.name for path in tmp_path.iterdir()} == {"top", "float"}


def test_the_body_ends_at_the_features() -> None:
    assert body_layers(build("senet", 32))[-1].name == "pool"
    assert body_layers(build("fast50", 16))[-1].name == "flatten"
    model = build("lenet5", 16)
    assert freeze_body(model) == 5 * 5 * 3 * 6 + 6 + 5 * 5 * 6 * 16 + 16
    assert {layer.name for layer in model.layers if layer.trainable and layer.weights} == {
        "dense1",
        "dense2",
        "logit",
    }
    unfreeze(model)
    assert all(layer.trainable for layer in model.layers)
    inputs = keras.Input((4,))
    with pytest.raises(ModelShapeError, match="no body"):
        body_layers(keras.Model(inputs, keras.layers.Dense(1)(inputs)))


def test_a_start_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="--freeze-body"):
        Start(unfreeze_epochs=2)
    with pytest.raises(UsageError, match="unknown preprocessing"):
        Start(preprocess="sharpen")
