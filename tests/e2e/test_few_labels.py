"""A model of somebody else and a handful of labelled cells: labels decide where they can."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import write_image
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli

pytestmark = pytest.mark.usefixtures("tensorflow")

CONTRACT = ("--input-range", "0-255", "--colour", "rgb", "--resize", "area")
RIGHT, TURNED = (("--classes", names) for names in ("healthy,infected", "infected,healthy"))


def labelled(root: Path, model: Path, val: int) -> Path:
    """Drawn cells in the classes that a network calls them, ``val`` of each class on val."""
    from edge_malaria.keras_layers import load_model

    network, rng, counts = load_model(model), np.random.default_rng(5), Counter[str]()
    lines = ["file,class,patient_id,split"]
    while min(counts["infected"], counts["healthy"]) < val:
        images = [draw_cell(rng, kind, 60).image for kind in ("ring", "healthy")]  # type: ignore[arg-type]
        pixels = np.stack([network_input(image, 48) for image in images]).astype(np.float32)
        for image, logit in zip(images, np.asarray(network(pixels))[:, 0], strict=True):
            name = "infected" if logit > 0 else "healthy"
            if counts[name] == val or abs(logit) < 0.5:
                continue
            counts[name] += 1
            write_image(root / name / f"{name}{counts[name]}.png", image)
            lines.append(f"{name}{counts[name]}.png,{name},p{counts[name]},val")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return root


def test_turned_classes_are_refused_by_few_labels_and_by_drawn_cells(
    working_keras: Path, tmp_path: Path
) -> None:
    call = ("export", working_keras, "--data")
    options = (*CONTRACT[2:], *TURNED, "-o", tmp_path / "bundle")
    five = labelled(tmp_path / "five", working_keras, 5)
    ran = run_cli(*call, five, *options)
    assert ran.code == 1
    assert "looks inverted" in ran.error and "10 labelled val cells" in ran.error
    # Two of each show nothing, so drawn cells are asked; they were made for this network.
    two = labelled(tmp_path / "two", working_keras, 2)
    ran = run_cli(*call, two, *options)
    assert ran.code == 1
    assert "looks inverted" in ran.error and "512 drawn cells" in ran.error
    assert not (tmp_path / "bundle").exists()


@pytest.mark.long
def test_a_network_not_made_for_drawn_cells_is_shown_right_by_four_of_each_class(
    tmp_path: Path,
) -> None:
    from edge_malaria.keras_layers import strip_fake_quant
    from tests.networks import spot_network

    # It answers to one stain of purple alone: its AUC on drawn cells of all stages is .60.
    model = tmp_path / "theirs.keras"
    strip_fake_quant(spot_network()).save(model)
    options = (*CONTRACT, *RIGHT, "--format", "tflite", "-o", tmp_path / "bundle")
    three = labelled(tmp_path / "three", model, 3)
    ran = run_cli("export", model, "--data", three, *options)
    assert ran.code == 1
    assert "512 drawn cells" in ran.error
    assert "about 4 val cells of each class settle it" in ran.error
    bare = run_cli("export", model, *options)
    assert bare.code == 1
    assert "a val split with 50 of each class settles it (--data DATASET)" in bare.error
    four = labelled(tmp_path / "four", model, 4)
    ran = run_cli("export", model, "--data", four, *options)
    assert ran.code == 0, ran.err
    assert "margin    widened" in ran.err
