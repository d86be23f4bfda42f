"""What bounds the memory of a large network's conversion and of its reference runs."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="converting needs the [export] extra")

from converters import graph_copies
from converters.keras_engine import KerasEngine, run_in_batches
from converters.quiet import quiet


def network(filters: int) -> Any:
    """A convolution that gives ``32 * 32 * filters`` values a cell."""
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(filters, 1)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def copies_left(model: Any, *, freed: bool) -> int:
    """tf2onnx's graphs in memory at the end of a conversion."""
    import tensorflow as tf
    import tf2onnx
    from tf2onnx.graph import Graph

    def count() -> int:
        return sum(isinstance(one, Graph) for one in gc.get_objects())

    signature = [tf.TensorSpec((1, 32, 32, 3), tf.float32, name="pixels")]
    traced = tf.function(lambda x: model(x, training=False), input_signature=signature)
    gc.collect()
    before = count()
    gc.disable()
    try:
        with quiet(), graph_copies.freed() if freed else nullcontext():
            tf2onnx.convert.from_function(traced, input_signature=signature, opset=17)
            return count() - before
    finally:
        gc.enable()
        gc.collect()


def test_the_copies_of_a_graph_are_freed_as_it_is_converted() -> None:
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    optimize = GraphOptimizerBase.optimize
    model = network(4)
    assert copies_left(model, freed=False) > 10, "tf2onnx frees them itself now: drop graph_copies"
    assert copies_left(model, freed=True) <= 3
    with pytest.raises(ValueError, match="on purpose"), graph_copies.freed():
        raise ValueError("on purpose")
    assert GraphOptimizerBase.optimize is optimize


def test_the_reference_runs_the_same_cells_once() -> None:
    model, ran = network(4), []

    class Counted:
        layers, input_shape, output_shape = model.layers, model.input_shape, model.output_shape

        def __call__(self, cells: Any, training: bool) -> Any:
            ran.append(len(cells))
            return model(cells, training=training)

    cells = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    engine = KerasEngine(Counted(), remember=True)
    first = engine.run_raw(cells)
    first_kept = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(engine.run_raw(cells), first_kept)
    assert sum(ran) == 20
    other = cells.copy()
    other[3, 2, 1, 0] ^= 1
    assert (engine.run_raw(other) != first_kept).sum() == 1
    assert sum(ran) == 21, "the changed cell alone"
    # The same numbers as floats are no other cells' answers, and cells of a batch keep their rows.
    halved = engine.run_raw(cells.astype(np.float32) / 2.0)
    assert not np.array_equal(halved, first_kept)
    np.testing.assert_array_equal(engine.run_raw(cells[[7, 3, 7]]), first_kept[[7, 3, 7]])
    assert sum(ran) == 41


@pytest.mark.parametrize(("filters", "most"), [(4, 256), (4000, 30)])
def test_keras_runs_as_many_cells_as_its_layers_outputs_fit(filters: int, most: int) -> None:
    model, sizes = network(filters), []

    class Counted:
        layers = model.layers

        def __call__(self, cells: Any, training: bool) -> Any:
            sizes.append(len(cells))
            return model(cells, training=training)

    cells = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    cells = cells if filters == 4 else cells[:40]
    got = run_in_batches(Counted(), cells)
    assert max(sizes) <= most and sum(sizes) == len(cells)
    np.testing.assert_allclose(got, np.asarray(model(cells.astype(np.float32))), atol=1e-2)


def test_a_large_network_answers_the_same_compiled() -> None:
    model = network(4000)
    cells = np.random.default_rng(2).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    layer_by_layer = run_in_batches(model, cells)
    ran = []
    call = type(model).__call__

    def counted(*given: Any, **named: Any) -> Any:
        ran.append(1)
        return call(*given, **named)

    engine = KerasEngine(model)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(model), "__call__", counted)
        got = engine.run(cells)
        again = engine.run(cells)
    assert len(ran) == 1, "traced once, however many batches"
    np.testing.assert_allclose(got, layer_by_layer, atol=1e-2, rtol=1e-5)
    np.testing.assert_array_equal(got, again)


def test_a_network_of_open_sides_runs_on_pictures_of_any_size() -> None:
    import keras

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    engine = KerasEngine(model)
    for shape in ((1, 20, 36, 3), (3, 16, 16, 3)):
        assert engine.run(np.zeros(shape, np.uint8)).shape == (*shape[:3], 2)


def test_the_weights_are_not_loaded_twice_and_no_byte_changes() -> None:
    import tensorflow as tf
    from tensorflow.lite.python import lite

    from converters import to_tflite
    from converters.slim import slim

    model, load = network(8), lite._load
    cells = np.random.default_rng(4).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    loaded: list[Any] = []
    with pytest.MonkeyPatch.context() as patched, quiet():
        patched.setattr(lite, "_load", lambda *given: loaded.append(load(*given)) or loaded[-1])
        plain = bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        assert loaded, "the converter does not load it any more: drop _weights_once"
        whole = slim(bytes(to_tflite._converter(model, "int8", cells).convert()))
        loaded.clear()
        assert to_tflite.convert(model, "float32") == plain
        assert to_tflite.convert(model, "int8", cells) == whole
        assert loaded == []


@pytest.mark.long
def test_a_large_networks_onnx_file_answers_as_a_small_ones() -> None:
    from converters import to_onnx
    from edge_malaria.runtime.engines.opening import open_engine

    model = network(16)
    cells = np.random.default_rng(5).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    small = to_onnx.from_keras(model)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graph_copies, "_FOLDED_UP_TO_BYTES", 0)
        large = to_onnx.from_keras(model)
    wanted = KerasEngine(model).run(cells)
    for data in (small, large):
        got = open_engine(data, "onnx").run(cells)
        np.testing.assert_allclose(got.reshape(-1), wanted.reshape(-1), atol=1e-4, rtol=1e-5)
