"""The preparation's record: today's bundles keep their meaning, others cannot be mistaken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import BundleSchemaError
from edge_malaria.prepare.contract import MASKS, RESIZES, Preparation
from edge_malaria.prepare.preprocess import CONTRACT_STEPS, network_input
from edge_malaria.prepare.stain import StainScaling


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("resize", RESIZES)
def test_each_preparation_survives_its_record(resize: str, mask: str) -> None:
    made = Preparation(64, resize, mask)
    record = json.loads(json.dumps(made.as_json()))
    assert Preparation.from_json(record) == made
    # An edge-malaria that knows one way only looks at the steps.
    assert (made.steps == CONTRACT_STEPS) == ((resize, mask) == ("area", "black"))


def test_a_bundle_of_today_means_areas_and_black(shipped_bundle: Path) -> None:
    spec = read_bundle(shipped_bundle).classifier
    assert spec.preparation == Preparation(spec.size_px, stain=StainScaling())
    assert "resize" not in spec.record["preprocessing"]
    micro = read_bundle(shipped_bundle.parent / "micro").classifier
    assert micro.preparation == spec.preparation


@pytest.mark.parametrize(
    "change", [{"resize": "linear"}, {"mask": "none"}, {"resize": "cubic"}, {"steps": ["crop"]}]
)
def test_a_record_that_contradicts_itself_is_refused(
    shipped_bundle: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(shipped_bundle, copy)
    record = json.loads((copy / "bundle.json").read_text())
    record["models"]["classifier"]["preprocessing"] |= change
    (copy / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(BundleSchemaError, match="preprocessing contract"):
        read_bundle(copy)


def test_without_a_mask_step_the_surroundings_stay() -> None:
    rng = np.random.default_rng(1)
    crop = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    kept = network_input(crop, Preparation(20, mask="none"), inside)
    assert np.array_equal(kept, network_input(crop, 20))
    assert not np.array_equal(kept, network_input(crop, 20, inside))
