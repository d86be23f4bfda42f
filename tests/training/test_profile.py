"""What a layer costs, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures import build
from edge_malaria.training.architectures.registry import count_macs
from edge_malaria.training.profile import LayerProfile, profile
from tests.cli import run_cli, run_process, validate


@pytest.fixture(scope="module")
def layers() -> dict[str, LayerProfile]:
    return {layer.name: layer for layer in profile(build("sequential3"), batch=16).layers}


def test_first_convolution_by_hand(layers: dict[str, LayerProfile]) -> None:
    conv = layers["block1_conv"]
    values, pixels = 126 * 126 * 16, 128 * 128 * 3
    assert conv.output_shape == (126, 126, 16)
    assert conv.parameters == 3 * 3 * 3 * 16 + 16 == 448
    assert conv.macs == values * 27 == 6_858_432
    assert conv.activation_bytes == 4 * values == 1_016_064
    assert conv.inference.weight_bytes == 1_792
    assert conv.inference.traffic_bytes == 4 * (pixels + 448 + values) == 1_214_464
    # No gradient flows on to the pixels: one pass forward, one for the weights.
    assert conv.training.macs == 2 * 16 * 6_858_432
    assert conv.training.activation_bytes == 16 * 1_016_064
    assert conv.training.state_bytes == 4 * 1_792
    forward = 16 * (pixels + values) + 448
    backward = 16 * (values + pixels) + 448
    assert conv.training.traffic_bytes == 4 * (forward + backward + 7 * 448) == 38_821_632


def test_what_follows_by_hand(layers: dict[str, LayerProfile]) -> None:
    assert layers["block1_relu"].inference.fused
    assert layers["block1_relu"].inference.traffic_bytes == 0
    assert layers["block1_relu"].training.activation_bytes == 16 * 1_016_064
    pool = layers["block1_pool"]
    assert pool.output_shape == (63, 63, 16)
    assert pool.parameters == pool.macs == pool.inference.weight_bytes == 0
    assert pool.inference.traffic_bytes == 4 * (254_016 + 63_504) == 1_270_080
    conv = layers["block2_conv"]
    assert conv.macs == 61 * 61 * 32 * 9 * 16 == 17_146_368
    assert conv.inference.traffic_bytes == 4 * (63_504 + 4_640 + 119_072) == 748_864
    assert conv.training.macs == 3 * 16 * 17_146_368
    forward = 16 * (63_504 + 119_072) + 4_640
    backward = 16 * (119_072 + 2 * 63_504) + 2 * 4_640
    assert conv.training.traffic_bytes == 4 * (forward + backward + 7 * 4_640)
    assert layers["flatten"].training.activation_bytes == 0


def test_totals_by_hand() -> None:
    totals = profile(build("sequential3")).as_json()["totals"]
    assert totals["parameters"] == 826_529
    assert totals["macs"] == 6_858_432 + 17_146_368 + 14_450_688 + 802_816 + 64
    assert totals["inference"]["weight_bytes"] == 4 * 826_529
    # Before and behind the first pooling: the largest pair of neighbours.
    assert totals["inference"]["activation_peak_bytes"] == 4 * (254_016 + 63_504)
    assert totals["training"]["state_bytes"] == 4 * 4 * 826_529


def test_int8_counts_a_byte_a_value_and_four_a_bias() -> None:
    counted = profile(build("sequential3"), dtype="int8").as_json()["totals"]["inference"]
    biases = 16 + 32 + 64 + 64 + 1
    assert counted["weight_bytes"] == 826_529 - biases + 4 * biases
    assert counted["activation_peak_bytes"] == 254_016 + 63_504


def test_a_batch_norm_is_fused_only_behind_a_convolution_of_its_own() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="folded")(x)
    y = keras.layers.BatchNormalization(name="alone")(x)
    x = keras.layers.Concatenate(name="both")([x, y])
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    found = {layer.name: layer for layer in profile(model).layers}
    assert found["folded"].inference.fused and found["folded"].inference.weight_bytes == 4 * 4
    assert found["folded"].training.state_bytes == 4 * (4 * 8 + 8)
    assert not found["alone"].inference.fused
    # conv's output stays for the concatenation while alone's and the result are there.
    assert profile(model).peak_bytes == 4 * 64 * (4 + 4 + 8)


def test_separable_convolutions_count_both_steps() -> None:
    inputs = keras.Input((6, 6, 5))
    model = keras.Model(inputs, keras.layers.SeparableConv2D(7, 3, padding="same")(inputs))
    assert count_macs(model) == 36 * (5 * 9 + 5 * 7)


@pytest.mark.parametrize(("options", "match"), [({"dtype": "int4"}, "dtype"), ({"batch": 0}, "1")])
def test_nonsense_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        profile(build("micro"), **options)


@pytest.mark.slow
def test_the_command_prints_what_is_counted() -> None:
    options = ("--arch", "fast50", "--input-size", "32", "--dtype", "int8", "--batch", "4")
    ran = run_process("profile", *options, "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "profile")
    expected = profile(build("fast50", 32), dtype="int8", batch=4)
    assert ran.json["totals"] == expected.as_json()["totals"]
    shown = [{**asdict(x), "output_shape": list(x.output_shape)} for x in expected.layers]
    assert ran.json["layers"] == shown
    table = run_cli("profile", *options)
    assert table.code == 0 and "block1_conv" in table.out
