"""The networks of earlier studies: built, folded, converted, and honest about what they cannot."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from converters.to_tflite import convert, quantization_of
from edge_malaria.data.dataset import Row
from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import has_ranges, keras
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.architectures import build
from edge_malaria.training.architectures.registry import BN_MOMENTUM, architectures
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.session import fit_quantized
from edge_malaria.training.quantization.fold import fold, obstacle
from edge_malaria.training.quantization.quantize_aware import finish, prepare

# The smallest input side of each.
SMALLEST = {
    "sequential3": 22,
    "lenet5": 16,
    "alexnet": 67,
    "googlenet": 32,
    "vgg16": 32,
    "resnet50": 32,
    "densenet121": 32,
    "xception": 71,
    "senet": 32,
    "liang16": 8,
    "fast50": 8,
}
# The bodies' numbers as keras.applications documents them, and one dense unit.
PARAMETERS = {
    "vgg16": 14_714_688 + 513,
    "resnet50": 23_587_712 + 2_049,
    "densenet121": 7_037_504 + 1_025,
    "xception": 20_861_480 + 2_049,
}
FLOAT_ONLY = {"densenet121", "xception", "senet"}
NORMED = FLOAT_ONLY | {"googlenet", "resnet50", "liang16"}


def cells(size_px: int, count: int = 24) -> Image:
    rng = np.random.default_rng(3)
    kinds = ("healthy", "ring", "schizont")
    drawn = network_inputs([draw_cell(rng, kinds[i % 3]).image for i in range(count)], size_px)
    # Light from dim to full: what an untrained network answers to most.
    light = np.linspace(0.1, 1.0, count)[:, None, None, None]
    return np.asarray(drawn * light, np.uint8)


def lively(name: str, size_px: int) -> Any:
    """A network with random weights whose batch norms and biases do something."""
    keras.utils.set_random_seed(2)
    model = build(name, size_px)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    return model


def test_every_study_is_offered_and_the_list_is_complete() -> None:
    assert set(SMALLEST) <= {entry.name for entry in architectures()}


def test_sequential3_is_the_studys() -> None:
    model = build("sequential3")
    assert model.input.shape == (None, 128, 128, 3)
    assert model.count_params() == 826_529
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Conv2D", "ReLU", "MaxPooling2D", "Dropout"]
    top = ["Flatten", "Dense", "ReLU", "Dropout", "Dense"]
    assert kinds == ["InputLayer", "Rescaling", *block * 3, *top]
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.3, 0.3, 0.5]


# Keras builds their hundreds of layers for seconds.
DEEP = {"densenet121", "resnet50", "xception", "googlenet"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.long] if n in DEEP else []) for n in sorted(SMALLEST)],
)
def test_each_gives_one_logit_and_folds_or_says_why_not(name: str) -> None:
    size = SMALLEST[name]
    model = lively(name, size)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == ({BN_MOMENTUM} if name in NORMED else set())
    assert model.count_params() == PARAMETERS.get(name, model.count_params())
    inputs = cells(size, 6)
    logits = np.asarray(model(inputs.astype(np.float32), training=False))
    assert logits.shape == (6, 1)
    assert np.isfinite(logits).all()
    assert np.ptp(logits) > 0
    assert (obstacle(model) is not None) == (name in FLOAT_ONLY)
    if name not in FLOAT_ONLY:
        folded = predict(fold(model), inputs)
        assert np.abs(folded - logits[:, 0]).max() <= 1e-4 * max(1.0, np.abs(logits).max())


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_a_smaller_input_is_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"at least {SMALLEST[name]} px"):
        build(name, SMALLEST[name] - 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size_px"), [("sequential3", 48), ("lenet5", 32), ("fast50", 50)])
@pytest.mark.parametrize("way", ["calibrated", "rounded"])
def test_small_ones_become_int8_files_that_agree(name: str, size_px: int, way: str) -> None:
    model = lively(name, size_px)
    inputs = cells(size_px)
    if way == "calibrated":
        data = convert(model, "int8", inputs)
    else:
        shipped = finish(prepare(model, inputs), model)
        assert has_ranges(shipped)
        data = convert(shipped, "int8")
    assert quantization_of(data) == "int8"
    exact = predict(model, inputs)
    engine = open_engine(data, "litert")
    assert engine.input.scale == pytest.approx(1.0)
    error = engine.run(inputs).reshape(-1) - exact
    assert np.sqrt(np.mean(error**2)) <= 0.1 * np.std(exact)


def test_a_network_that_cannot_be_rounded_is_trained_in_float() -> None:
    from edge_malaria.training.architectures import registry
    from edge_malaria.training.classifier.cells import CellSet

    @registry.register("gated-for-test", 16, "a gate that no int8 range fits")
    def gated(size: int) -> Any:
        inputs = keras.Input((size, size, 3))
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Conv2D(4, 3)(x)
        x = keras.layers.Multiply()([x, keras.layers.Activation("sigmoid")(x)])
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(inputs, keras.layers.Dense(1)(x))

    try:
        inputs = cells(16, 12)
        labels = (np.arange(12) % 3 > 0).astype(np.int64)
        examples = Examples((inputs,), labels.astype(np.float32))
        rows = tuple(Row(f"{i}.png", int(label), "p", "val") for i, label in enumerate(labels))
        val = CellSet(inputs, labels, rows)
        recipe = Recipe(epochs=1, batch=4)
        model, history = fit_quantized("gated-for-test", examples, val, recipe)
    finally:
        registry._REGISTRY.pop("gated-for-test")
    assert set(history) == {"float"}
    assert not has_ranges(model)


@pytest.mark.slow
def test_help_imports_no_training_library() -> None:
    code = (
        "import sys; from edge_malaria.cli import app; app._register_all(); "
        "print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
