"""Files of Keras 2: the words in which TensorFlow 2.4 to 2.15 wrote networks, on real weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.export.importers.keras_files import load_keras

PIXELS = np.random.default_rng(2).uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)


def layer(kind: str, name: str, *before: Any, **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 stored it, with what Keras 3 has no word for."""
    config |= {"name": name, "trainable": True, "dtype": {"class_name": "Policy", "config": {}}}
    nodes = [[[*tensor, {}] for tensor in before]] if before else []
    return {"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}


def entry(name: str) -> dict[str, Any]:
    """An input of 16 px."""
    shape = {"batch_input_shape": [None, 16, 16, 3], "sparse": False, "ragged": False}
    return layer("InputLayer", name, **shape)


def conv(name: str, before: Any, filters: int = 4) -> dict[str, Any]:
    """A convolution with an initializer and a regularizer of the author's."""
    given = {"kernel_regularizer": {"class_name": "Theirs", "config": {}}, "groups": 1}
    return layer("Conv2D", name, before, filters=filters, kernel_size=[3, 3], **given)


def operation(name: str, function: str, before: str, **given: Any) -> dict[str, Any]:
    """Arithmetic between layers, as TensorFlow recorded it."""
    kind = "SlicingOpLambda" if "slice_spec" in given else "TFOpLambda"
    made = layer(kind, name, function=function)
    made["inbound_nodes"] = [[before, 0, 0, {**given, "name": None}]]
    return made


def functional(name: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """A model from its first layer to its last."""
    ends = {"input_layers": [[layers[0]["name"], 0, 0]]}
    ends["output_layers"] = [[layers[-1]["name"], 0, 0]]
    return {"class_name": "Functional", "config": {"name": name, "layers": layers, **ends}}


def backbone() -> dict[str, Any]:
    """A nested network, such as keras.applications gives."""
    return functional("body", [entry("inner"), conv("first", ("inner", 0, 0))])


def wide() -> dict[str, Any]:
    """Augmentation, arithmetic, a nested backbone, a residual sum, one sigmoid."""
    flips = {
        "class_name": "Sequential",
        "config": {
            "name": "flips",
            "layers": [entry("s"), layer("RandomFlip", "flip", mode="horizontal", rng_type="x")],
        },
        "name": "flips",
        "inbound_nodes": [[["in", 0, 0, {}]]],
    }
    body = {**backbone(), "name": "body", "inbound_nodes": [[["scaled", 0, 0, {}]]]}
    turn = [{"class_name": "__ellipsis__"}, {"start": None, "stop": None, "step": -1}]
    added = operation("sum", "__operators__.add", "second", y=["relu", 0, 0])
    layers = [
        entry("in"),
        flips,
        # In Keras 2 the making of a nested model is its first call.
        operation("bgr", "__operators__.getitem", "flips", slice_spec=turn),
        operation("shifted", "nn.bias_add", "bgr", bias=[-100.0, -110.0, -120.0]),
        operation("scaled", "math.truediv", "shifted", y=50.0),
        body,
        operation("relu", "nn.relu", "body"),
        layer("BatchNormalization", "norm", ("relu", 0, 0), axis=[3], momentum=0.9, epsilon=1e-3),
        layer("Conv2D", "second", ("norm", 0, 0), filters=4, kernel_size=[1, 1]),
        added,
        layer("GaussianNoise", "noise", ("sum", 0, 0), stddev=0.5),
        operation("pooled", "math.reduce_mean", "noise", axis=[1, 2]),
        layer("Dense", "answer", ("pooled", 0, 0), units=1, activation="sigmoid"),
    ]
    layers[2]["inbound_nodes"][0][1] = layers[6]["inbound_nodes"][0][1] = 1
    return functional("whole", layers)


def same_in_keras3() -> Any:
    """``wide`` without its augmentation, written anew; its weights are random."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    inner = keras.Input((16, 16, 3))
    body = keras.Model(inner, layers.Conv2D(4, 3)(inner))
    pixels = keras.Input((16, 16, 3))
    x = (pixels[..., ::-1] - np.array([100.0, 110.0, 120.0], np.float32)) / 50.0
    x = before = layers.ReLU()(body(x))
    x = layers.BatchNormalization(epsilon=1e-3)(x)
    x = layers.Conv2D(4, 1)(x) + before
    pooled = keras.ops.mean(x, axis=(1, 2))
    model = keras.Model(pixels, layers.Dense(1, activation="sigmoid")(pooled))
    rng = np.random.default_rng(4)
    model.set_weights([rng.uniform(0.2, 1.0, w.shape) - 0.6 * (w.ndim > 1) for w in model.weights])
    return model


def weights_of_keras2(path: Path, model: Any, names: dict[str, list[Any]], config: Any) -> None:
    """An .h5 file as ``model.save`` of Keras 2 wrote it."""
    import h5py

    with h5py.File(path, "w") as stored:
        stored.attrs["keras_version"] = "2.12.0"
        stored.attrs["model_config"] = json.dumps(config)
        group = stored.create_group("model_weights")
        group.attrs["layer_names"] = list(names)
        group.attrs["keras_version"] = "2.12.0"
        for name, weights in names.items():
            part = group.create_group(name)
            part.attrs["weight_names"] = [f"{name}/{k}:0" for k in range(len(weights))]
            for k, value in enumerate(weights):
                part.create_dataset(f"{name}/{k}:0", data=value)


def test_nested_backbones_augmentation_and_arithmetic(tmp_path: Path) -> None:
    model, config = same_in_keras3(), wide()
    weighted = [one.get_weights() for one in model.layers if one.get_weights()]
    names: dict[str, list[Any]] = {one["name"]: [] for one in config["config"]["layers"]}
    names |= dict(zip(("body", "norm", "second", "answer"), weighted, strict=True))
    path = tmp_path / "theirs.h5"
    weights_of_keras2(path, model, names, config)
    got = np.asarray(load_keras(path, None, None)(PIXELS, training=False))
    want = np.asarray(model(PIXELS, training=False))
    assert want.std() > 1e-3
    assert np.abs(got - want).max() <= 1e-6


def test_a_backbone_at_the_head_of_a_list_of_layers(tmp_path: Path) -> None:
    """Sequential([backbone, ...]) in the .keras files of TensorFlow 2.13 and in .json."""
    import keras

    inner = keras.Input((16, 16, 3))
    body = keras.Model(inner, keras.layers.Conv2D(4, 3)(inner))
    model = keras.Sequential([body, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.save_weights(tmp_path / "model.weights.h5")
    layers = [backbone(), layer("Flatten", "flat"), layer("Dense", "answer", units=2)]
    text = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": layers}})
    with zipfile.ZipFile(tmp_path / "theirs.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.13.1"}')
        archive.writestr("config.json", text)
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    (tmp_path / "apart.json").write_text(text)
    (tmp_path / "model.weights.h5").rename(tmp_path / "apart.weights.h5")
    want = np.asarray(model(PIXELS))
    for name in ("theirs.keras", "apart.json"):
        got = np.asarray(load_keras(tmp_path / name, None, None)(PIXELS))
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
