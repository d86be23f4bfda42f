"""Files that are refused, or are not ours: whether the message says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.errors import (
    GateFailed,
    ModelFileError,
    ModelShapeError,
    UsageError,
)
from edge_malaria.export.importers import import_model
from edge_malaria.export.importers.importing import logits_of
from edge_malaria.export.load import is_own, load_source
from tests.export.importers.small_networks import PIXELS, TOLD, rebuilt, small


@pytest.mark.long
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
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    refused(tmp_path / "cut.h5", ModelFileError, "is not a Keras file")

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


def test_a_name_that_names_no_model_is_told_so(tmp_path: Path) -> None:
    def refused(name: str, words: str) -> None:
        with pytest.raises(ModelFileError, match=words):
            load_source(str(tmp_path / name), TOLD)

    refused("mistyped.keras", "does not exist")
    refused("mistyped", "no model .* expected a file")
    for name, words in {
        "a.safetensors": "of no kind that is read: expected .keras",
        "saved_model.pb": "give the SavedModel folder",
    }.items():
        (tmp_path / name).write_bytes(b"x")
        refused(name, words)
    (tmp_path / "folder").mkdir()
    refused("folder", r"without saved_model\.pb")


def test_two_sigmoids_are_refused_and_the_advice_works(tmp_path: Path) -> None:
    import keras

    model = small(units=2)
    with pytest.raises(ModelShapeError, match=r"activation = keras\.activations\.softmax"):
        rebuilt(model, tmp_path / "a.keras")
    calls = np.asarray(model(PIXELS / 255.0)).argmax(axis=1)
    model.layers[-1].activation = keras.activations.softmax
    made = rebuilt(model, tmp_path / "b.keras")
    np.testing.assert_array_equal(logits_of(made.model, PIXELS) >= 0, calls == 1)


def test_another_side_than_the_files_own_is_refused(tmp_path: Path) -> None:
    from converters.quiet import quiet

    declared = replace(TOLD, input_size=48)
    model = small()
    model.save(tmp_path / "a.keras")
    with quiet():
        model.export(str(tmp_path / "a"), verbose=False)
    for path in (tmp_path / "a.keras", tmp_path / "a"):
        with pytest.raises(UsageError, match="takes 32 px, --input-size says 48"):
            import_model(path, declared)
        assert import_model(path, replace(TOLD, input_size=32)).contract.size_px == 32


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(value: float, tmp_path: Path) -> None:
    model = small()
    model.layers[-1].set_weights([np.full_like(w, value) for w in model.layers[-1].get_weights()])
    with pytest.raises(GateFailed, match="answers with NaN: some of its weights"):
        rebuilt(model, tmp_path / "a.keras")
