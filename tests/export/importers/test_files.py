"""Files of every kind: what is read, and that nothing changes by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.errors import (
    DatasetError,
    ModelFileError,
    UsageError,
)
from edge_malaria.export.importers import Declared, Loading, import_model
from edge_malaria.export.importers.importing import logits_of
from edge_malaria.export.importers.proof import read_expected
from tests.export.importers.small_networks import PIXELS, TOLD, rebuilt, small


@pytest.mark.long
def test_scaling_inside_the_network_is_read_from_the_file(tmp_path: Path) -> None:
    from keras import layers

    said = Declared(None, "rgb", "area", classes=("Uninfected", "Parasitized"))
    inside = [layers.Rescaling(1 / 127.5, offset=-1.0), layers.RandomFlip(), layers.Dropout(0.5)]
    made = rebuilt(small(*inside), tmp_path / "a.keras", said)
    assert made.contract.input_range == "0-255"
    assert made.contract.origins["input_range"] == "read from the file"
    kinds = {type(layer).__name__ for layer in made.model.layers}
    assert kinds.isdisjoint({"Rescaling", "RandomFlip", "Dropout", "BatchNormalization"})
    means = layers.Normalization(mean=[120.0, 110.0, 130.0], variance=[3600.0, 3000.0, 3300.0])
    made = rebuilt(small(means), tmp_path / "c.keras", said)
    assert made.contract.input_range == "0-255"
    assert made.largest_change <= 1e-4
    with pytest.raises(UsageError, match="--input-range 0-1"):
        rebuilt(small(), tmp_path / "b.keras", said)


def test_a_large_network_is_read_and_written_without_tensorflows_folding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras import layers

    from converters import graph_copies, to_onnx
    from edge_malaria.runtime.engines.opening import open_engine

    monkeypatch.setattr(graph_copies, "_FOLDED_UP_TO_BYTES", 0)
    made = rebuilt(small(layers.Conv2D(6, 3), layers.BatchNormalization()), tmp_path / "a.keras")
    assert made.largest_change <= 1e-4
    written = open_engine(to_onnx.from_keras(made.model), "onnx").run(PIXELS).reshape(-1)
    np.testing.assert_allclose(written, logits_of(made.model, PIXELS), atol=1e-4)


def test_a_resizing_layer_of_an_open_input_becomes_the_contract(tmp_path: Path) -> None:
    from keras import layers

    said = Declared("0-1", "rgb", classes=("Uninfected", "Parasitized"))
    made = rebuilt(small(layers.Resizing(32, 32), side=None), tmp_path / "a.keras", said)
    assert (made.contract.size_px, made.contract.resize) == (32, "linear")
    with pytest.raises(UsageError, match="--input-size"):
        rebuilt(small(side=None), tmp_path / "b.keras")
    declared = Declared(**{**TOLD.said, "input_size": 40})
    assert rebuilt(small(side=None), tmp_path / "b.keras", declared).contract.size_px == 40


def test_code_is_named_and_runs_only_when_asked(tmp_path: Path) -> None:
    import keras

    code = tmp_path / "theirs.py"
    code.write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('theirs')\n"
        "class Halved(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return inputs / 2.0\n"
    )
    space: dict[str, Any] = {}
    exec(code.read_text(), space)
    path = tmp_path / "a.keras"
    small(space["Halved"]()).save(path)
    keras.saving.get_custom_objects().pop("theirs>Halved")
    with pytest.raises(ModelFileError, match=r"Halved.*--custom-objects"):
        import_model(path, TOLD)
    assert import_model(path, TOLD, Loading(str(code))).largest_change <= 1e-4
    small(keras.layers.Lambda(lambda x: x * 2.0)).save(path)
    with pytest.raises(ModelFileError, match=r"Lambda.*Rescaling"):
        import_model(path, TOLD)


@pytest.mark.parametrize("file", ["a.keras", "a.h5"])
def test_a_metric_and_a_loss_of_the_authors_own_are_not_asked_for(
    tmp_path: Path, file: str
) -> None:
    import keras

    @keras.saving.register_keras_serializable("theirs")
    class F1(keras.metrics.Mean):
        def update_state(self, truth: Any, answers: Any, sample_weight: Any = None) -> Any:
            return super().update_state(truth * answers)

    @keras.saving.register_keras_serializable("theirs")
    def loss(truth: Any, answers: Any) -> Any:
        return keras.losses.binary_crossentropy(truth, answers)

    model = small()
    model.compile("adam", loss, metrics=["accuracy", F1(name="f1")])
    model.fit(PIXELS, np.arange(6.0) % 2, verbose=0)
    model.save(tmp_path / file)
    for name in ("theirs>F1", "theirs>loss"):
        keras.saving.get_custom_objects().pop(name)
    made = import_model(tmp_path / file, TOLD)
    want = np.asarray(model(PIXELS / np.float32(255.0)))[:, 0]
    got = 1.0 / (1.0 + np.exp(-logits_of(made.model, PIXELS)))
    assert np.abs(got - want).max() <= 1e-5


@pytest.mark.parametrize("file", ["a.keras", "a.h5"])
def test_preprocessing_by_calls_inside_the_network_is_read(tmp_path: Path, file: str) -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    inputs = keras.Input((32, 32, 3))
    x = keras.applications.mobilenet.preprocess_input(inputs)
    x = keras.ops.relu(layers.Conv2D(4, 3)(x)) * 0.5
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))
    said = Declared(None, "rgb", "area", classes=("Uninfected", "Parasitized"))
    made = rebuilt(model, tmp_path / file, said)
    assert made.contract.input_range == "0-255"
    want = np.asarray(model(PIXELS.astype(np.float32)))[:, 0]
    assert np.abs(logits_of(made.model, PIXELS) - want).max() <= 1e-4


def test_architecture_and_weights_apart(tmp_path: Path) -> None:
    model = small()
    model.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(UsageError, match=r"a\.json.*--arch"):
        import_model(tmp_path / "a.weights.h5", TOLD)
    (tmp_path / "a.json").write_text(model.to_json())
    made = import_model(tmp_path / "a.json", TOLD)
    want = np.asarray(model(PIXELS / np.float32(255.0)))[:, 0]
    got = 1.0 / (1.0 + np.exp(-logits_of(made.model, PIXELS)))
    assert np.abs(got - want).max() <= 1e-5


def test_a_table_of_expected_answers_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("file,score\na.png,0.5\n")
    with pytest.raises(DatasetError, match="p_parasitized"):
        read_expected(path)
    rows = "".join(f"c{i}.png,{i / 10}\n" for i in range(9))
    path.write_text("file,p_parasitized\n" + rows + "x.png,1.5\n")
    with pytest.raises(DatasetError, match=r"x\.png"):
        read_expected(path)
    path.write_text("file,p_parasitized\n" + rows)
    assert read_expected(path)["c3.png"] == 0.3


def test_the_logarithms_of_a_softmax_are_read_as_such(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng(8)
    kernel, bias = rng.normal(size=(2, 3)) * 3.0, np.array([0.4, -0.3])
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [2, 3], kernel.ravel()),
        helper.make_tensor("b", TensorProto.FLOAT, [2], bias),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["g"], transB=1),
        helper.make_node("LogSoftmax", ["g"], ["y"], axis=1),
    ]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "torch", [entry], [end], constants)
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "torch.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    made = import_model(path, TOLD)
    assert made.contract.output == "softmax"
    logits = PIXELS.astype(np.float64).mean(axis=(1, 2)) / 255.0 @ kernel.T + bias
    np.testing.assert_allclose(
        logits_of(made.model, PIXELS), logits[:, 1] - logits[:, 0], atol=1e-4
    )
