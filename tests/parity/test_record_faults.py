"""Faults planted in bundle.json and in the goldens are refused by name; the honest bundle passes.

Each fault edits files from outside (``faults.py``) and records them again as a faulty export
would, so neither a hash nor a stale golden gives it away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle import golden_write
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.parity import gate
from tests.parity import faults
from tests.parity.faults import Fault, Plant


def _labels_swapped(bundle: Path) -> None:
    record = faults.record_of(bundle)
    record["models"]["classifier"]["labels"].reverse()
    faults.rehash(bundle, record)


def _another_models_engine_goldens(bundle: Path) -> None:
    """The float32 file's outputs, quantized, of another network: here a function of redness."""
    opened = read_bundle(bundle)
    cells = read_goldens(opened.contents).cells
    spec = opened.classifier.file("int8", "litert")
    redness = cells.inputs[..., 0].mean(axis=(1, 2)) - 60

    class Other:
        name = "litert"
        input, output = spec.input, spec.output

        def run_raw(self, batch: Any) -> Any:
            values = redness if len(batch) == len(redness) else np.zeros(len(batch))
            return np.clip(values, -128, 127).astype(np.int8)[:, None]

    golden_write.write_engine_goldens(bundle, cells, Other(), "int8", spec.sha256)  # type: ignore[arg-type]
    faults.rehash(bundle)


def _another_models_keras_goldens(bundle: Path) -> None:
    cells = read_goldens(read_bundle(bundle).contents).cells
    golden_write.write_goldens(
        bundle, cells, lambda x: x[..., 0].mean(axis=(1, 2)).astype(np.float32)
    )
    faults.rehash(bundle)


def _other_threshold(bundle: Path) -> None:
    record = faults.record_of(bundle)
    point = record["models"]["classifier"]["decision"]["operating_points"]["balanced"]
    point["threshold"] = min(0.95, point["threshold"] + 0.07)
    faults.rehash(bundle, record)


def _record_says(key: str, value: Any) -> Plant:
    """bundle.json itself is wrong about a tensor; the file is right."""

    def plant(bundle: Path) -> None:
        record = faults.record_of(bundle)
        for entry in record["models"]["classifier"]["variants"]["int8"]:
            entry["output"][key] = value
        faults.rehash(bundle, record)

    return plant


def _no_goldens_near(bundle: Path) -> None:
    path = bundle / "golden" / "cells.npz"
    with np.load(path) as stored:
        values = dict(stored)
    np.savez(path, **{**values, "near": np.zeros_like(values["near"])})
    faults.rehash(bundle)


def _few_goldens(bundle: Path) -> None:
    for name in [
        "cells",
        *[p.stem for p in (bundle / "golden").glob("*.npz") if p.stem != "cells"],
    ]:
        path = bundle / "golden" / f"{name}.npz"
        with np.load(path) as stored:
            values = dict(stored)
        for key in ("inputs", "near", "truth", "raw", "logits", "averaged"):
            if key in values:
                values[key] = values[key][:40]
        np.savez(path, **values)
    faults.restamp(bundle)


def _nan_keras(bundle: Path) -> None:
    path = bundle / "golden" / "keras.npz"
    with np.load(path) as stored:
        values = dict(stored)
    np.savez(path, **{**values, "logits": np.full_like(values["logits"], np.nan)})
    faults.rehash(bundle)


FAULTS = (
    Fault("output zero point recorded", _record_says("zero_point", 5), ("wrong zero point",)),
    Fault("output scale recorded", _record_says("scale", 0.5), ("wrong scale",)),
    Fault("labels swapped in bundle.json", _labels_swapped, ("labels swapped",)),
    Fault("another model's int8 goldens", _another_models_engine_goldens, ("another model's",)),
    Fault(
        "another model's Keras goldens",
        _another_models_keras_goldens,
        ("another model's",),
        "default",
    ),
    Fault("threshold of another variant", _other_threshold, ("threshold of another variant",)),
    Fault("no cells near the threshold", _no_goldens_near, ("too few cells near",)),
    Fault("forty goldens", _few_goldens, ("too few cells",)),
    Fault("NaN in Keras's goldens", _nan_keras, ("Keras's outputs",)),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault_is_refused_and_named(fault: Fault, tmp_path: Path) -> None:
    faults.assert_refused(fault, tmp_path / "bundle")


@pytest.mark.parametrize("name", ["default", "micro"])
def test_the_honest_bundle_passes(name: str, tmp_path: Path) -> None:
    bundle = faults.copy_bundle(SHIPPED_MODELS / name, tmp_path / "bundle")
    faults.record_again(bundle)
    report = gate(bundle, finder=False)
    assert faults.messages(report) == []
    assert report.passed
