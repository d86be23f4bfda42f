"""What ships keeps its promises: size, work, ranges, thresholds, where it was trained."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.keras_layers import has_ranges, load_model, strip_fake_quant
from edge_malaria.training.architectures.registry import count_macs

SHIPPED = sorted(path.stem for path in SHIPPED_MODELS.glob("*.json"))
# Its points and errors are those of both networks, in the record of the first.
MODELS = [name for name in SHIPPED if name != "second"]
# Weights (int8, one byte each), multiply-accumulates, int8 file in bytes.
LIMITS = {
    "default": (60_000, 2_200_000, 40_000),
    "micro": (16_384, 750_000, 40_000),
    "second": (400_000, 10_000_000, 400_000),
}


def record(name: str) -> dict[str, Any]:
    return dict(json.loads((SHIPPED_MODELS / f"{name}.json").read_text(encoding="utf-8")))


def test_the_default_ships() -> None:
    assert "default" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_sizes_and_work_stay_within_their_limits(name: str) -> None:
    weights, macs, _ = LIMITS[name]
    model = strip_fake_quant(load_model(SHIPPED_MODELS / f"{name}.keras"))
    assert model.count_params() <= weights
    assert count_macs(model) <= macs
    assert model.input.shape == (None, 48, 48, 3)
    assert model.output.shape == (None, 1)


@pytest.mark.parametrize("name", SHIPPED)
def test_int8_ranges_travel_and_no_optimizer_does(name: str) -> None:
    path = SHIPPED_MODELS / f"{name}.keras"
    assert has_ranges(load_model(path))
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        assert not config.get("compile_config")
        assert b"optimizer" not in archive.read("model.weights.h5")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_int8_file_is_small(name: str) -> None:
    path = SHIPPED_MODELS / ("default/second" if name == "second" else name)
    spec = read_bundle(path).classifier.variants["int8"]["litert"]
    assert spec.bytes <= LIMITS[name][2]
    assert (spec.input.scale, spec.input.zero_point) == (1.0, -128)


def test_the_second_network_has_the_points_of_the_first() -> None:
    first, second = (record(name)["decision"] for name in ("default", "second"))
    asked = first["second"]["from"]
    for name, point in first["operating_points"].items():
        assert asked <= point["threshold"] == second["operating_points"][name]["threshold"]


@pytest.mark.parametrize("name", MODELS)
def test_thresholds_were_chosen_and_false_positives_measured(name: str) -> None:
    decision = record(name)["decision"]
    points = decision["operating_points"]
    assert 0.0 < points["balanced"]["threshold"] <= points["screening"]["threshold"] < 1.0
    errors = decision["false_positives"]
    cells = sum(cells for _, _, cells in errors["per_patient"])
    assert cells == errors["cells"]
    assert all(patient.startswith("H_") for patient, _, _ in errors["per_patient"])
    assert decision["temperature"] > 0.0


@pytest.mark.parametrize("name", MODELS)
def test_training_saw_train_and_val_patients_only(name: str, data_dir: Any) -> None:
    from edge_malaria.data.dataset import open_dataset

    dataset = open_dataset(data_dir / "nih" / "cell_images.zip")
    stated = record(name)["provenance"]["data"]
    for split in ("train", "val"):
        assert stated[split]["cells"] == len(dataset.select(split).rows)
    known = {row.patient_id: row.split for row in dataset.rows}
    decided = record(name)["decision"]["false_positives"]["per_patient"]
    assert {known[patient] for patient, _, _ in decided} <= {"train", "val"}
