"""When int8 fails: the layer at fault is named, and the fallback recipes follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import diagnose, recipes, to_tflite
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.errors import UsageError
from edge_malaria.parity.opened import read_file
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import open_engine
from tests.parity import faults
from tests.parity.faults import FLOAT, INT8

pytest.importorskip("ai_edge_litert", reason="layers are read through LiteRT")


@pytest.fixture(scope="module")
def cells(shipped_bundle: Path) -> Image:
    return read_goldens(read_bundle(shipped_bundle).contents).cells.inputs


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        (
            "net_1/stem_relu_1/Relu;net_1/stem_bn_1/add_1;net_1/stem_conv_1/convolution;x",
            "stem_conv",
        ),
        ("net/block1_dw_relu/Relu;net/block1_dw_conv/depthwise", "block1_dw_conv"),
        ("compact_1/pool_1/Mean", "pool"),
        ("StatefulPartitionedCall_1:0", "StatefulPartitionedCall"),
    ],
)
def test_keras_names(tensor: str, layer: str) -> None:
    assert diagnose.keras_name(tensor) == layer


def test_the_layer_at_fault_comes_first(shipped_bundle: Path, cells: Image, tmp_path: Path) -> None:
    bundle = faults.copy_bundle(shipped_bundle, tmp_path / "bundle")
    healthy = diagnose.layer_noise(
        (bundle / FLOAT).read_bytes(), (bundle / INT8).read_bytes(), cells
    )
    at_fault = 5

    def spoil(tensors: list[faults.StoredTensor]) -> None:
        # Constants are stored from the last layer to the first, or the other way round.
        kernels = faults.kernels(tensors)
        order = kernels if kernels[0].shape[-1] == 3 else kernels[::-1]
        faults.values_of(order[at_fault])[...] //= 6

    faults.edit_tflite(bundle / INT8, spoil)
    noise = diagnose.layer_noise((bundle / FLOAT).read_bytes(), (bundle / INT8).read_bytes(), cells)
    assert [layer.layer for layer in noise] == [layer.layer for layer in healthy]
    worst = diagnose.worst_first(noise)[0]
    assert worst.layer == noise[at_fault].layer
    assert worst.sqnr_db < healthy[at_fault].sqnr_db - 3
    assert worst.as_json()["lost_db"] > 3


def test_files_of_two_networks_are_refused(
    shipped_bundle: Path, tiny_bundle: Path, cells: Image
) -> None:
    with pytest.raises(UsageError, match="not the same network"):
        diagnose.layer_noise(
            (shipped_bundle / FLOAT).read_bytes(), (tiny_bundle / INT8).read_bytes(), cells
        )


def _noise(count: int) -> tuple[diagnose.LayerNoise, ...]:
    return tuple(
        diagnose.LayerNoise(
            f"layer{i}",
            f"net/layer{i}/x",
            "CONV_2D",
            40.0 - i * i,
            2.0 * i,
            (f"net/layer{i + 1}/x",) if i + 1 < count else (),
        )
        for i in range(count)
    )


def test_rungs_in_order() -> None:
    found = recipes.later_recipes(_noise(8), has_calibration=True, has_data=True)
    names = [recipe.name for recipe in found]
    # The worst layer is the last one here: keep-float-1 would be keep-float-output once more.
    kept = [f"keep-float-{count}" for count in ("output", 2, 4)]
    assert names == ["equalized-ptq", *kept, "qat-fine-tune"]
    assert [recipe.variant for recipe in found] == ["int8", *["int8-mixed"] * 3, "int8"]
    assert found[1].layers == ("layer7",)
    assert set(found[1].keep_float) < set(found[2].keep_float) < set(found[3].keep_float)
    after = recipes.later_recipes(
        _noise(8), has_calibration=True, has_data=False, after_ranges=True
    )
    assert [recipe.name for recipe in after][:2] == ["per-channel-ptq", "equalized-ptq"]
    assert recipes.first_recipe(True).name == "ranges-in-model"
    assert recipes.first_recipe(False).name == "per-channel-ptq"


def test_rungs_that_lack_something_are_left_out() -> None:
    assert recipes.later_recipes(_noise(8), has_calibration=False, has_data=False) == ()
    only = recipes.later_recipes(_noise(3), has_calibration=True, has_data=False)
    names = [recipe.name for recipe in only]
    assert names == ["equalized-ptq", "keep-float-output"], "never every layer"


def test_a_layer_kept_in_float_makes_the_file_mixed(
    tiny_keras: Path, tiny_bundle: Path, cells: Image
) -> None:
    from converters.to_tflite import quantization_of
    from edge_malaria.keras_layers import load_model, strip_fake_quant

    noise = diagnose.layer_noise(
        (tiny_bundle / FLOAT).read_bytes(), (tiny_bundle / INT8).read_bytes(), cells
    )
    recipe = recipes.later_recipes(noise, has_calibration=True, has_data=False)[1]
    assert recipe.name == "keep-float-output"
    assert recipe.layers == (noise[-1].layer,)
    plain = strip_fake_quant(load_model(tiny_keras))
    data = recipes.convert(plain, recipe, cells[:32])
    assert quantization_of(data) == read_file(data, "litert", "x")[1] == "int8-mixed"
    # Ranges that were measured once serve every such recipe, and change no byte.
    ranged = to_tflite.with_ranges(plain, cells[:32])
    assert recipes.convert(plain, recipe, cells[:32], ranged) == data
    assert data == _by_debugger(plain, recipe, cells[:32])
    with pytest.raises(UsageError, match="needs calibration cells"):
        recipes.convert(plain, recipe, np.zeros((0, 48, 48, 3), np.uint8))


def _by_debugger(model: Any, recipe: recipes.Recipe, cells: Image) -> bytes:
    """The same file by TensorFlow's own way to keep operators in float."""
    import tensorflow as tf

    from converters.quiet import quiet
    from converters.slim import slim

    anchor = cells[:1].astype(np.float32)
    anchor[0, 0, 0, :], anchor[0, -1, -1, :] = 0.0, 255.0
    shown = [[anchor], *([cell[None].astype(np.float32)] for cell in cells)]
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(shown)
        kept = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=list(recipe.keep_float)
        )
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: iter(shown[:1]), debug_options=kept
        )
        return slim(bytes(debugger.get_nondebug_quantized_model()))


def _pooled() -> Any:
    """A network whose first layer is followed by pooling, its dense layer by nothing.

    One channel of the first layer is a thousand times larger than the others, and the next layer
    ignores it: int8 has no steps left for the ones that matter.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    inputs = keras.Input((24, 24, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="third")(x)
    x = layers.Dense(8, activation="relu", name="hidden")(layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, layers.Dense(1, name="logit")(x))
    kernel, bias = model.get_layer("first").get_weights()
    bias[5] = 2e4
    model.get_layer("first").set_weights([kernel / 16.0, bias])
    kernel, bias = model.get_layer("second").get_weights()
    kernel[:, :, 5] = 0.0
    model.get_layer("second").set_weights([kernel, bias])
    return model


def test_a_layer_in_float_stays_unrounded_through_the_pooling_behind_it() -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (48, 24, 24, 3), dtype=np.uint8)
    model = _pooled()
    float_file, int8_file = (to_tflite.convert(model, v, pixels) for v in ("float32", "int8"))
    noise = diagnose.layer_noise(float_file, int8_file, pixels)
    assert diagnose.worst_first(noise)[0].layer == "first"
    behind = {diagnose.keras_name(tensor) for tensor in noise[0].readers}
    assert behind == {"pool", "second"}
    recipe = recipes.later_recipes(noise, has_calibration=True, has_data=False)[2]
    assert recipe.name == "keep-float-1"
    assert set(recipe.layers) < {layer.layer for layer in noise}

    def rounding(data: bytes) -> float:
        got, true = (open_engine(d, "litert").run(pixels).reshape(-1) for d in (data, float_file))
        return float(np.sqrt(np.mean((got - true) ** 2)) / true.std())

    mixed = recipes.convert(model, recipe, pixels)
    assert to_tflite.quantization_of(mixed) == "int8-mixed"
    # Kept without the pooling's reader, the first layer is rounded as coarsely as in int8.
    without = to_tflite.convert(model, "int8", pixels, (noise[0].tensor, noise[1].tensor))
    assert rounding(without) > 0.3 * rounding(int8_file)
    assert rounding(mixed) < 0.1 * rounding(int8_file)


def test_the_last_layer_is_never_left_to_its_own_rounding() -> None:
    for recipe in recipes.later_recipes(_noise(12)[::-1], has_calibration=True, has_data=False)[1:]:
        assert recipe.layers[-1] == "layer0", "the least noisy here, but the one that decides"
