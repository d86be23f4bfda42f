"""A network that 8 bits break: export names the layer, keeps it in float, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle import read_bundle
from edge_malaria.dataset import open_dataset
from edge_malaria.files import write_image
from edge_malaria.parity import gate
from edge_malaria.synthetic import draw_cell

pytest.importorskip("tensorflow", reason="converting needs the [export] extra")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells of twelve patients, each in four turns: 320 of a class on val."""
    root = tmp_path_factory.mktemp("data") / "cells"
    rng = np.random.default_rng(2)
    lines = ["file,class,patient_id,split"]
    for label, kind in (("Parasitized", "ring"), ("Uninfected", "healthy")):
        for index in range(96):
            image = draw_cell(rng, kind, 60).image  # type: ignore[arg-type]
            split = ("train", "val", "val", "val", "val", "val")[index % 6]
            patient = f"{split}{index % 12}"
            for turn in range(4):
                name = f"{label[0]}{index}_{turn}.png"
                write_image(root / label / name, np.ascontiguousarray(np.rot90(image, turn)))
                lines.append(f"{name},{label},{patient},{split}")
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

    model = strip_fake_quant(spot_network())
    kernel, bias = model.get_layer("first").get_weights()
    bias[5] = 2000.0
    model.get_layer("first").set_weights([kernel, bias])
    spread, offset = model.get_layer("depth").get_weights()
    spread[:, :, 5] = 0.0
    model.get_layer("depth").set_weights([spread, offset])
    path = tmp_path_factory.mktemp("keras") / "fragile.keras"
    model.save(path)
    return path


def test_int8_that_fails_ships_as_int8_mixed_with_its_rung(
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
    rung = bundle.classifier.record["int8"]["ranges"]
    assert rung.startswith("keep-float-")
    text = "\n".join(lines)
    assert "ladder    trying keep-float-1" in text
    assert f"ladder    {rung} passed" in text
    worst = next(line for line in lines if line.startswith("worst"))
    assert worst.startswith("worst     first")
    assert exported.report.worst_layers
    assert gate(exported.path, dataset=dataset, split="val").passed
