"""A network that 8 bits break: export names the layer, keeps it in float, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_image
from edge_malaria.parity import Settings, gate
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli

pytest.importorskip("tensorflow", reason="converting needs the [export] extra")
pytestmark = [pytest.mark.slow, pytest.mark.long]
# Of a class, before they are turned; five of six are val cells. With 80 of those the gate proves a
# change of 3 / 80.
CELLS, DELTA = 24, 3 / 80


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells of twelve patients, each in four turns: 80 of a class on val.

    Their class is what the spot network says of them: export refuses a network that is no better
    than chance, and this one has learnt nothing. Nearly undecided cells are left out.
    """
    from edge_malaria.keras_layers import strip_fake_quant
    from tests.networks import spot_network

    root = tmp_path_factory.mktemp("data") / "cells"
    rng, model = np.random.default_rng(2), strip_fake_quant(spot_network(stride=1))
    lines, counts = ["file,class,patient_id,split"], {"Parasitized": 0, "Uninfected": 0}
    while min(counts.values()) < CELLS:
        images = [draw_cell(rng, k, 60).image for k in ("ring", "healthy") * CELLS]  # type: ignore[arg-type]
        turned = [[np.ascontiguousarray(np.rot90(i, n)) for n in range(4)] for i in images]
        pixels = np.stack([network_input(one, 48) for four in turned for one in four])
        logits = model.predict(pixels.astype(np.float32), verbose=0).reshape(-1, 4)
        for four, said in zip(turned, logits, strict=True):
            label = "Parasitized" if said[0] > 0 else "Uninfected"
            index = counts[label]
            if index == CELLS or not (np.abs(said).min() > 0.5 and np.ptp(np.sign(said)) == 0):
                continue
            counts[label] += 1
            split = ("train", "val", "val", "val", "val", "val")[index % 6]
            for turn, image in enumerate(four):
                name = f"{label[0]}{index}_{turn}.png"
                write_image(root / label / name, image)
                lines.append(f"{name},{label},{split}{index % 12},{split}")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spot network with one channel a thousand times larger than the others.

    The next layer ignores that channel, so Keras decides as before; but with one scale for all
    channels of an activation, int8 has no steps left for the ones that matter.
    """
    from edge_malaria.keras_layers import strip_fake_quant
    from tests.networks import spot_network

    model = strip_fake_quant(spot_network(stride=1))
    kernel, bias = model.get_layer("first").get_weights()
    bias[5] = 2000.0
    model.get_layer("first").set_weights([kernel, bias])
    spread, offset = model.get_layer("depth").get_weights()
    spread[:, :, 5] = 0.0
    model.get_layer("depth").set_weights([spread, offset])
    path = tmp_path_factory.mktemp("keras") / "fragile.keras"
    model.save(path)
    path.with_suffix(".json").write_text('{"decision": {}}')  # as training leaves it
    return path


def test_int8_that_fails_ships_as_int8_mixed_named_by_its_recipe(
    fragile: Path, cells: Path, tmp_path: Path
) -> None:
    from edge_malaria.export import Options, export_bundle

    lines: list[str] = []
    dataset = open_dataset(cells)
    exported = export_bundle(str(fragile), tmp_path / "bundle", Options(), dataset, lines.append)
    bundle = read_bundle(exported.path)
    assert set(bundle.classifier.variants) == {"float32", "int8-mixed"}
    assert not [name for name in bundle.contents if "int8." in name]
    for spec in bundle.classifier.variants["int8-mixed"].values():
        assert spec.quantization == "int8-mixed"
    recipe = bundle.classifier.record["int8"]["ranges"]
    assert recipe.startswith("keep-float-")
    text = "\n".join(lines)
    assert "fallback  trying keep-float-1" in text
    assert f"fallback  {recipe} passed" in text
    worst = next(line for line in lines if line.startswith("worst"))
    assert worst.startswith("worst     first")
    assert exported.report.worst_layers
    settings = Settings(delta=DELTA)
    assert gate(exported.path, dataset=dataset, split="val", settings=settings).passed


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve layers that hand the spot's channel on beside one a thousand times larger.

    No recipe that keeps some layers in float mends it: the others still have no steps for the spot.
    """
    import keras

    from edge_malaria.keras_layers import strip_fake_quant
    from tests.networks import spot_network

    plain = strip_fake_quant(spot_network(stride=1))
    inputs = keras.Input((48, 48, 3))
    first = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first")
    layers = [keras.layers.Conv2D(8, 1, activation="relu", name=f"on{n}") for n in range(12)]
    x = first(inputs)
    for layer in layers:
        x = layer(x)
    head = keras.layers.Dense(1, name="head")
    model = keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D()(x)))
    kernel, bias = plain.get_layer("first").get_weights()
    bias[5] = 2000.0
    first.set_weights([kernel, bias])
    rng = np.random.default_rng(4)
    for layer in layers:
        # No two alike: constants that are one and the same would be stored once.
        on = np.eye(8) + rng.normal(0.0, 1e-3, (8, 8))
        on[5] = 0.0
        layer.set_weights([on[None, None], bias])
    weights = np.zeros((8, 1))
    weights[0] = 1.0
    head.set_weights([weights, np.zeros(1)])
    kinds = ("healthy", "ring") * 40
    drawn = [network_input(draw_cell(rng, k).image, 48) for k in kinds]  # type: ignore[arg-type]
    levels = np.asarray(model(np.stack(drawn).astype(np.float32)))
    head.set_weights([weights / levels.std(), -np.median(levels, axis=0) / levels.std()])
    path = tmp_path_factory.mktemp("keras") / "hopeless.keras"
    model.save(path)
    path.with_suffix(".json").write_text('{"decision": {}}')
    return path


def test_no_fine_tune_never_trains_and_leaves_no_bundle(
    hopeless: Path, cells: Path, tmp_path: Path
) -> None:
    options = ("--int8", "--data", cells, "--no-fine-tune", "-o", tmp_path / "bundle")
    ran = run_cli("export", hopeless, *options)
    assert ran.code == 1, ran.err
    assert "fallback  trying keep-float-4" in ran.err, ran.err
    assert "qat-fine-tune" not in ran.err
    assert not (tmp_path / "bundle").exists()


def test_a_network_that_cannot_be_folded_is_refused_by_the_gate(
    hopeless: Path, cells: Path, tmp_path: Path
) -> None:
    """Its activations are fused into its layers: no pass with rounding, and the refusal is told."""
    options = ("--int8", "--data", cells, "-o", tmp_path / "bundle")
    ran = run_cli("export", hopeless, *options)
    assert ran.code == 1, ran.err
    assert "fine-tuning is left out: Conv2D layer first has its activation fused in" in ran.err
    assert "the parity gate refused hopeless" in ran.err
    assert not (tmp_path / "bundle").exists()
