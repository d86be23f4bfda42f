"""Fitting, resuming, folding, rounding and calibrating, on real (small) networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.errors import (
    ConfigError,
    DataError,
    DatasetError,
    ModelFileError,
    ModelShapeError,
    UsageError,
)
from edge_malaria.keras_layers import (
    FakeQuant,
    fake_quant_layers,
    has_ranges,
    keras,
    load_model,
    strip_fake_quant,
)
from edge_malaria.metrics import expected_calibration_error
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.architectures import build
from edge_malaria.training.architectures.registry import architectures, count_macs
from edge_malaria.training.classifier.calibrate import bake, fit_platt
from edge_malaria.training.classifier.checkpoint import read_checkpoint
from edge_malaria.training.classifier.cross_fitted import (
    CrossFitted,
    best_threshold,
    cross_fitted_counts,
    same_sensitivity,
)
from edge_malaria.training.classifier.fit import Trainer, fit, predict
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import open_teacher
from edge_malaria.training.quantization.fold import fold
from edge_malaria.training.quantization.quantize_aware import finish, prepare
from tests.training.classifier.test_training_data import BATCH, SPLITS, write_dataset

LABELS = np.arange(16, dtype=np.int64) % 2
EXAMPLES = Examples((BATCH,), LABELS.astype(np.float32))


def lively(name: str = "micro") -> object:
    """A network whose batch norms do something."""
    keras.utils.set_random_seed(1)
    model = build(name)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def small() -> object:
    """One convolution, a batch norm and the logit: what training does is soon done with it."""
    inputs = keras.Input((48, 48, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="logit")(x))


def constant_opinion(logit: float) -> object:
    """A network that says the same of every cell."""
    model = small()
    head = model.get_layer("logit")
    head.set_weights([np.zeros_like(head.get_weights()[0]), np.array([logit], np.float32)])
    return model


@pytest.mark.parametrize("name", ["compact", "micro"])
def test_registered_networks_keep_the_contract(name: str) -> None:
    model = build(name)
    assert model.input.shape == (None, 48, 48, 3)
    assert model.output.shape == (None, 1)
    macs = {"compact": 2_200_000, "micro": 750_000}[name]
    weights = {"compact": 26_000, "micro": 16_384}[name]
    assert count_macs(model) <= macs
    assert fold(model).count_params() <= weights


def test_macs_of_one_convolution_are_counted_by_hand() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    assert count_macs(model) == 4 * 4 * 4 * 27 + 4 * 4 * 4 * 9 + 4


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="compact"):
        build("resnet-9000")
    assert {"compact", "micro"} <= {entry.name for entry in architectures()}


@pytest.mark.parametrize("name", ["compact", "micro"])
def test_folding_changes_nothing(name: str) -> None:
    model = lively(name)
    folded = fold(model)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in folded.layers)
    assert not any(isinstance(x, keras.layers.Rescaling) for x in folded.layers)
    assert np.abs(predict(model, BATCH) - predict(folded, BATCH)).max() < 1e-4


def test_ranges_travel_in_the_file_and_can_be_stripped(tmp_path: Path) -> None:
    model = lively()
    rounding = prepare(model, BATCH)
    shipped = finish(rounding, model)
    shipped.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    assert has_ranges(loaded)
    assert not has_ranges(model)
    assert [layer.range for layer in fake_quant_layers(loaded)] == [
        layer.range for layer in fake_quant_layers(rounding)
    ]
    assert fake_quant_layers(loaded)[0].range == (0.0, 255.0)
    plain = strip_fake_quant(loaded)
    assert not fake_quant_layers(plain)
    assert np.abs(predict(plain, BATCH) - predict(model, BATCH)).max() < 1e-4
    gap = np.abs(predict(loaded, BATCH) - predict(model, BATCH)).max()
    assert 0 < gap < 0.2 * np.abs(predict(model, BATCH)).max() + 0.05


def test_a_range_must_hold_zero() -> None:
    layer = FakeQuant(0.0, 1.0)
    layer.build((None, 4))
    for low, high in ((0.1, 1.0), (0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(ValueError, match="range"):
            layer.set_range(low, high)


def test_damaged_and_unsafe_files_are_refused(tmp_path: Path) -> None:
    model = build("micro")
    path = tmp_path / "m.keras"
    model.save(path)
    data = path.read_bytes()
    (tmp_path / "cut.keras").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.keras").write_bytes(b"")
    inputs = keras.Input((48, 48, 3))
    code = keras.layers.Lambda(lambda x: x * 2)(inputs)
    keras.Model(inputs, code).save(tmp_path / "lambda.keras")
    for name in ("cut", "empty", "lambda", "absent"):
        with pytest.raises(ModelFileError) as caught:
            load_model(tmp_path / f"{name}.keras")
        assert len(str(caught.value).splitlines()) <= 2


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    recipe = Recipe(epochs=4, batch=8, seed=3)

    def fresh() -> object:
        keras.utils.set_random_seed(5)
        return small()

    whole, history = fit(fresh(), EXAMPLES, BATCH, LABELS, recipe, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_after_second(entry: dict[str, float]) -> None:
        if entry["epoch"] == 1:
            raise Stop

    run = tmp_path / "part"
    with pytest.raises(Stop):
        fit(fresh(), EXAMPLES, BATCH, LABELS, recipe, run, report=stop_after_second)
    assert read_checkpoint(run / "checkpoint.npz").epoch == 1
    resumed, again = fit(fresh(), EXAMPLES, BATCH, LABELS, recipe, run, resume=True)
    assert [e["epoch"] for e in again] == [e["epoch"] for e in history] == [0, 1, 2, 3]
    assert np.allclose(predict(whole, BATCH), predict(resumed, BATCH), atol=1e-3)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(DataError, match="damaged"):
        fit(small(), EXAMPLES, BATCH, LABELS, Recipe(epochs=1), tmp_path, resume=True)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    recipe = Recipe(epochs=30, batch=8, seed=0, patience=2, learning_rate=1e-7)
    _, history = fit(small(), EXAMPLES, BATCH, LABELS, recipe, tmp_path)
    assert len(history) < 30


def test_a_teacher_outweighs_the_labels() -> None:
    teacher = constant_opinion(-4.0)
    positive = Examples((BATCH,), np.ones(len(LABELS), np.float32))
    recipe = Recipe(epochs=30, batch=16, teacher_share=1.0, label_smoothing=0.0, learning_rate=1e-2)
    means = []
    for teachers in ((), (teacher,)):
        keras.utils.set_random_seed(0)
        trainer = Trainer(small(), recipe, teachers)
        for epoch in range(recipe.epochs):
            trainer.run_epoch(positive, epoch)
        means.append(float(predict(trainer.model, BATCH).mean()))
    assert means[0] > 0.2
    assert means[1] < -0.2
    assert np.all(predict(teacher, BATCH) == -4.0)


def test_a_teacher_of_another_input_is_refused(tmp_path: Path) -> None:
    save_model(build("micro", 32), tmp_path / "teacher.keras")
    with pytest.raises(ModelShapeError, match=r"expected input .*48.*got.*32"):
        open_teacher(tmp_path / "teacher.keras", 48)


def test_a_small_network_learns_drawn_cells_through_rounding(tmp_path: Path) -> None:
    from edge_malaria.data.dataset import open_dataset
    from edge_malaria.training.classifier.cells import fitting_rows
    from edge_malaria.training.classifier.session import train

    archive = write_dataset(tmp_path, SPLITS, per_patient=64)
    recipe = Recipe(epochs=14, batch=16, seed=0, averaging=0.9)
    outcome = train(
        fitting_rows(open_dataset(archive)), "micro", recipe, tmp_path / "run", fine_tune_epochs=3
    )
    assert max(entry["val_auc"] for entry in outcome.history["int8"]) > 0.97
    saved = load_model(tmp_path / "run" / "model.keras")
    assert has_ranges(saved)
    record = json.loads((tmp_path / "run" / "model.json").read_text())
    points = record["decision"]["operating_points"]
    assert 0 < points["balanced"]["threshold"] <= points["screening"]["threshold"] < 1
    assert record["provenance"]["data"]["train"]["patients"] == 2
    for name in ("config.json", "versions.json", "history.json", "learning-curve.png"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    with pytest.raises(ConfigError, match="recipe"):
        train(
            fitting_rows(open_dataset(archive)),
            "micro",
            Recipe(epochs=9),
            tmp_path / "run",
            resume=True,
        )


@settings(max_examples=20, deadline=None)
@given(temperature=st.floats(0.4, 4.0), bias=st.floats(-1.5, 1.5), seed=st.integers(0, 1000))
def test_platt_scaling_recovers_what_made_the_labels(
    temperature: float, bias: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 3.0, 20_000).astype(np.float32)
    labels = (rng.random(20_000) < probability(logits, temperature, bias)).astype(np.int64)
    found, shift = fit_platt(logits, labels)
    assert found == pytest.approx(temperature, rel=0.15)
    assert shift == pytest.approx(bias, abs=0.25)
    assert expected_calibration_error(labels, probability(logits, found, shift)) < 0.02


def test_a_baked_calibration_is_in_the_logits() -> None:
    model = lively()
    before = predict(model, BATCH)
    bake(model, 0.5, 0.25)
    assert np.allclose(predict(model, BATCH), (before + 0.25) / 0.5, atol=1e-4)


def test_calibration_needs_both_classes_and_a_rising_score() -> None:
    logits = np.linspace(-3, 3, 100).astype(np.float32)
    with pytest.raises(DatasetError, match="both classes"):
        fit_platt(logits, np.zeros(100, np.int64))
    with pytest.raises(DatasetError, match="do not rise"):
        fit_platt(logits, (logits < 0).astype(np.int64))


def test_thresholds_do_what_they_promise() -> None:
    chances = np.linspace(0.001, 0.999, 1000)
    labels = (chances > 0.7).astype(np.int64)
    assert best_threshold(chances, labels)[0] == pytest.approx(0.7, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(threshold=st.floats(0.05, 0.99), power=st.floats(0.2, 2.0))
def test_thresholds_carry_over_at_equal_sensitivity(threshold: float, power: float) -> None:
    known = np.random.default_rng(0).uniform(0.02, 0.98, 400)
    carried = same_sensitivity(threshold, known, known**power)
    assert np.mean(known**power >= carried) == np.mean(known >= threshold)


def test_false_positives_are_counted_at_a_threshold_chosen_without_the_patient() -> None:
    # One patient's cells all look infected: had it a say in its own threshold, none would count.
    chances = np.concatenate([np.full(50, 0.9), np.full(950, 0.1)])
    patients = np.array(["odd"] * 50 + [f"p{index % 9}" for index in range(950)])
    labels = np.zeros(1000, np.int64)
    counts = cross_fitted_counts(CrossFitted(chances, labels, patients))
    counted = {name: positives for name, positives, _ in counts["false_positives"]}
    assert counted["odd"] == 50
    assert sum(counted.values()) == 50
