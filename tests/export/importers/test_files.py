"""Files of every kind: what is read, what is refused, and whether the message says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.errors import (
    DatasetError,
    ModelFileError,
    ModelShapeError,
    UsageError,
)
from edge_malaria.export.importers import Declared, Loading, import_model
from edge_malaria.export.importers.importing import logits_of
from edge_malaria.export.importers.proof import read_expected
from edge_malaria.export.source import is_own, load_source

TOLD = Declared("0-1", "rgb", "area", "black", classes=("Uninfected", "Parasitized"))
PIXELS = np.random.default_rng(2).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def small(*front: Any, side: int | None = 32, units: int = 1, last: str = "sigmoid") -> Any:
    """A small Sequential network."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            *front,
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(units, activation=last),
        ]
    )


def rebuilt(model: Any, path: Path, declared: Declared = TOLD, **loading: Any) -> Any:
    """The model saved, read and rebuilt."""
    model.save(path)
    return import_model(path, declared, Loading(**loading))


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


def test_what_cannot_be_rebuilt_is_named(tmp_path: Path) -> None:
    from keras import layers

    with pytest.raises(ModelFileError, match="OWN_MODEL"):
        rebuilt(small(layers.LayerNormalization()), tmp_path / "a.keras")
    with pytest.raises(ModelShapeError, match=r"softmax over the classes|3 values"):
        rebuilt(small(units=3, last="softmax"), tmp_path / "b.keras")
    with pytest.raises(ModelShapeError, match="neither a logit nor a probability"):
        rebuilt(small(last="tanh"), tmp_path / "c.keras")
    (tmp_path / "d.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ModelFileError, match="not an ONNX file"):
        import_model(tmp_path / "d.onnx", TOLD)


def test_a_tflite_file_of_integers_with_float_ends_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    from converters.quiet import quiet

    path = tmp_path / "a.tflite"
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(small())
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        cells = [[cell[None] / np.float32(255.0)] for cell in PIXELS]
        converter.representative_dataset = lambda: cells
        path.write_bytes(converter.convert())
    with pytest.raises(ModelFileError, match="quantized already"):
        import_model(path, TOLD)


def test_a_foreign_file_is_not_taken_for_ours(tmp_path: Path, tiny_keras: Path) -> None:
    small().save(tmp_path / "a.keras")
    assert not is_own(tmp_path / "a.keras")
    assert is_own(tiny_keras)


@pytest.mark.parametrize("name", ["lenet5", "vgg16"])
def test_a_network_of_our_names_is_ours_by_its_ends_alone(tmp_path: Path, name: str) -> None:
    """``keras.applications`` calls its networks by the names of ours; their sigmoid is no logit."""
    import keras

    from edge_malaria.training.architectures import build

    if name == "lenet5":
        build(name).save(tmp_path / "ours.keras")
        assert is_own(tmp_path / "ours.keras")
        return
    theirs = small()
    keras.Model(theirs.inputs, theirs.outputs, name=name).save(tmp_path / "theirs.keras")
    assert not is_own(tmp_path / "theirs.keras")
    with pytest.raises(UsageError, match="does not tell"):
        load_source(str(tmp_path / "theirs.keras"))


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


def test_each_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    import keras
    import onnx
    import tensorflow as tf
    from keras import layers
    from onnx import TensorProto, helper

    def refused(path: Path, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            import_model(path, TOLD)

    for name in ("a.pkl", "a.joblib"):
        refused(tmp_path / name, UsageError, r"pickle.*model\.save.*torch\.onnx\.export")
    (tmp_path / "history.json").write_text('{"loss": [0.3, 0.2]}')
    refused(tmp_path / "history.json", ModelFileError, "no architecture of Keras")
    (tmp_path / "empty.h5").write_bytes(b"")
    refused(tmp_path / "empty.h5", ModelFileError, "is not a Keras file")

    reads = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Reshape((32, 96)), layers.LSTM(4), layers.Dense(1)]
    )
    reads.save(tmp_path / "lstm.keras")
    refused(tmp_path / "lstm.keras", ModelFileError, r"Recurrent layers.*OWN_MODEL")
    grey = keras.Sequential([keras.Input((32, 32, 1)), layers.Flatten(), layers.Dense(1)])
    grey.save(tmp_path / "grey.keras")
    refused(tmp_path / "grey.keras", ModelShapeError, "three channels")

    pair = [keras.Input((32, 32, 3)) for _ in range(2)]
    both = layers.Dense(1)(layers.Flatten()(layers.Concatenate()(pair)))
    keras.Model(pair, both).save(tmp_path / "pair.keras")
    refused(tmp_path / "pair.keras", ModelShapeError, "one input and one output, got 2 and 1")

    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
        def __call__(self, x: Any) -> Any:
            return {"a": tf.reduce_mean(x, [1, 2, 3]), "b": tf.reduce_max(x, [1, 2, 3])}

    two = Two()
    tf.saved_model.save(two, str(tmp_path / "two"), signatures=two.__call__)
    refused(tmp_path / "two", ModelShapeError, "one output, got 1 and 2")

    def onnx_file(name: str, kind: int, batch: int | str) -> Path:
        entry = helper.make_tensor_value_info("x", kind, [batch, 3, 32, 32])
        end = helper.make_tensor_value_info("y", kind, [batch, 1])
        constants = [
            helper.make_tensor("w", kind, [1, 3, 32, 32], np.zeros(3072)),
            helper.make_tensor("s", TensorProto.INT64, [2], [-1, 1]),
        ]
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Reshape", ["c", "s"], ["y"]),
        ]
        graph = helper.make_graph(nodes, "g", [entry], [end], constants)
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / name)
        return tmp_path / name

    half = onnx_file("half.onnx", TensorProto.FLOAT16, "n")
    refused(half, ModelFileError, "expected float32 input, got float16")
    refused(onnx_file("eight.onnx", TensorProto.FLOAT, 8), ModelShapeError, "8 cells at a time")
