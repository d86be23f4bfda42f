"""Of a large network few drawn cells are stored, but only where labelled ones will decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="exporting needs the [export] extra")

from edge_malaria.bundle import golden, golden_draw
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.export.effort import Effort
from edge_malaria.export.importers.contract import Contract
from edge_malaria.export.sanity import labelled_will_decide
from edge_malaria.export.source import PLAIN_DECISION, Source
from edge_malaria.files import write_image
from edge_malaria.parity import Settings
from edge_malaria.parity.goldens import check_cells

LARGE = Effort(looked_at=40, calibration=8, judging=60, halvings=2, golden=256)
# Six cells of a class show it: 3 / 0.5.
DELTA = 0.5


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Grey cells from 108 to 147 of 255: 30 below 128, and 30 parasitized ones from there on."""
    root = tmp_path_factory.mktemp("cells")
    lines = ["file,class,patient_id,split"]
    for index in range(60):
        label = ("Uninfected", "Parasitized")[index // 30]
        grey = 108 + index * 40 // 60
        write_image(root / label / f"{index}.png", np.full((9, 9, 3), grey, np.uint8))
        lines.append(f"{index}.png,{label},p{index},val")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return open_dataset(root)


def source(slope: float, *, foreign: bool = True) -> Source:
    """A network whose logit is ``slope`` times the grey levels above 128."""
    import keras

    inputs = keras.Input((16, 16, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    head = keras.layers.Dense(1)
    model = keras.Model(inputs, head(mean))
    head.set_weights([np.full((3, 1), slope / 3.0), np.array([-128.0 * slope])])
    names = ("Uninfected", "Parasitized")
    contract = Contract(16, "0-255", "rgb", "area", "black", "logit", names)
    made: dict[str, Any] = {"contract": contract} if foreign else {}
    facts: tuple[Any, ...] = (16, 4, False, dict(PLAIN_DECISION), {}, {}, None)
    return Source("theirs", model, model, *facts, **made)


def test_labelled_cells_decide_where_enough_lie_near_the_threshold(cells: Dataset) -> None:
    said: list[str] = []

    def asked(one: Source, dataset: Dataset | None, effort: Effort, delta: float) -> bool:
        return labelled_will_decide(one, dataset, effort, delta, said.append)

    # One logit is 20 grey levels: nearly all cells lie within it. Steeper, 6 of them do.
    assert asked(source(0.05), cells, LARGE, DELTA)
    assert "they decide" in said[-1]
    assert not asked(source(1.0), cells, LARGE, DELTA)
    assert "too few to decide" in said[-1]
    assert not asked(source(0.05), cells, LARGE, 0.05), "30 cells of a class show no 5 %"
    assert not asked(source(float("nan")), cells, LARGE, DELTA)
    # Never without cells, for a small network, or for this project's own.
    assert not asked(source(0.05), None, LARGE, DELTA)
    assert not asked(source(0.05), cells, replace(LARGE, golden=1024), DELTA)
    assert not asked(source(0.05, foreign=False), cells, LARGE, DELTA)


def test_few_drawn_cells_are_no_evidence_of_their_own() -> None:
    def logits(pixels: Any) -> Any:
        return pixels[..., 1].astype(np.float32).mean(axis=(1, 2)) / 64.0 - 1.0

    made = golden_draw.draw_golden_cells(logits, 0.0, 16, 256, halvings=0)
    few = replace(made, inputs=made.inputs[:255], near=made.near[:255], truth=made.truth[:255])

    def failures(cells: golden.GoldenCells, *, decide: bool) -> list[str]:
        outputs = golden.GoldenOutputs(
            logits(cells.inputs), logits(cells.crop_inputs), cells.sha256
        )
        stored = golden.Goldens(cells, outputs, {})
        return [f.message for f in check_cells(stored, 16, Settings(), decide=decide)]

    assert failures(made, decide=False) == []
    assert "drawn cells: got 256, expected >= 1024" in failures(made, decide=True)[0]
    assert "drawn cells: got 255, expected >= 256" in failures(few, decide=False)[0]
