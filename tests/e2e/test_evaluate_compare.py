"""``evaluate --compare``, ``--exclude-suspect`` and ``--plot`` as a user runs them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import write_image
from edge_malaria.parity.tflite_costs import file_costs
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli, validate

COMPARE = ("evaluate", "--compare", "default", "micro")


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells of four patients, two cells with a suspect label."""
    root = tmp_path_factory.mktemp("compared") / "drawn"
    rows = []
    for seed in range(12):
        for word, kind in (("Parasitized", "ring"), ("Uninfected", "healthy")):
            image = draw_cell(np.random.default_rng(seed + 100 * len(word)), kind).image
            write_image(root / word / f"{word[0]}{seed}.png", image)
            rows.append((f"{word[0]}{seed}.png", word, f"P{seed % 4}", "test", seed % 2, seed == 3))
    with (root / "patients.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("file", "class", "patient_id", "split", "fold", "suspect_label"))
        writer.writerows((*row[:5], int(row[5])) for row in rows)
    return root


@pytest.mark.slow
def test_models_stand_side_by_side_with_what_they_cost(cells: Path, tmp_path: Path) -> None:
    plot = tmp_path / "roc.png"
    ran = run_cli(*COMPARE, cells, "--exclude-suspect", "--plot", plot, "--json")
    assert ran.code == 0, ran.err
    document = ran.json
    validate(document, "evaluate-compare")
    default, micro = document["models"]
    assert default["model"] == "default" and default["n"] == micro["n"] == 24
    assert default["suspect_labels"] == 2
    assert default["without_suspect_labels"]["n"] == 22
    assert micro["bytes"] < default["bytes"]
    assert micro["parameters"] < default["parameters"]
    assert 1_500_000 < default["macs"] <= 2_200_000
    assert plot.read_bytes()[:4] == b"\x89PNG"
    alone = run_cli("evaluate", "default", cells, "--json").json
    for key in ("accuracy", "auc", "confusion", "ci95", "threshold"):
        assert alone[key] == default[key]
    table = run_cli(*COMPARE, cells)
    assert table.code == 0
    assert "MACs" in table.out and "micro" in table.out


def test_comparing_bundles_needs_no_tensorflow(cells: Path) -> None:
    code = (
        "import sys; from edge_malaria.cli import app; app._register_all()\n"
        f"arguments = {[*COMPARE, str(cells), '--json']!r}\n"
        "app.app(arguments, standalone_mode=False)\n"
        "print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_wrong_calls_say_what_to_do(cells: Path) -> None:
    several = run_cli("evaluate", "default", "micro", cells)
    assert several.code == 2
    assert "--compare" in several.error
    named = run_cli("evaluate", "default", cells, "--plot", "roc.pdf")
    assert named.code == 2
    assert ".png or .svg" in named.error


@pytest.mark.slow
def test_costs_of_a_file_are_those_of_its_keras_network(
    tiny_keras: Path, tiny_bundle: Path
) -> None:
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from edge_malaria.training.architectures.registry import count_macs

    plain = strip_fake_quant(load_model(tiny_keras))
    bundle = read_bundle(tiny_bundle)
    for variant, files in bundle.classifier.variants.items():
        found = file_costs(bundle.read(files["litert"].file))
        assert found.macs == count_macs(plain), variant
        assert found.parameters == plain.count_params(), variant


@pytest.mark.usefixtures("tensorflow")
def test_a_transposed_convolution_is_counted_by_its_products() -> None:
    import keras

    from converters.to_tflite import convert

    inputs = keras.Input((8, 6, 3))
    # The converter leaves a bias of zeros away.
    up = {"strides": 2, "padding": "same", "bias_initializer": "ones"}
    x = keras.layers.Conv2DTranspose(5, 2, **up)(inputs)
    model = keras.Model(inputs, x)
    found = file_costs(convert(model, "float32"))
    assert found.macs == 8 * 6 * 3 * 2 * 2 * 5
    assert found.parameters == model.count_params() == 2 * 2 * 3 * 5 + 5
