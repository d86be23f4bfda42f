"""Parity of the shipped bundle on all test cells: bits per pair, calls, time.

    python -m benchmarks.parity.real_cells --data DATASET [--reference MODEL.keras] [--arm]

``--arm`` also runs the int8 files on aarch64 (cortex-a72 under qemu-user, needs root and apt) on
the same encoded pictures, and compares bits. Writes docs/evidence/parity.json. Test cells are
read to report; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.export.load import SECOND_FILE
from edge_malaria.parity import ParityReport, gate
from edge_malaria.parity.suite import Beside
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.engines.base import Engine, dequantize
from tests.device import arm, arm_root, processors
from tests.device.guest_dataset import SECOND_EVERY

GUEST = Path(arm.__file__).with_name("guest_dataset.py")
# QEMU takes minutes, on a busy machine many.
ARM_S = 2400
# ONNX Runtime leaves these two operators of a QDQ graph in float; the rest runs in integers.
WHY_ONNX_DIFFERS = (
    "ONNX Runtime runs the first convolution and the global average pooling of the QDQ graph in "
    "float32 between DequantizeLinear and QuantizeLinear, LiteRT's XNNPACK in integers; where a "
    "value lies halfway between two steps they may round apart by one step."
)


def keras_engine(path: Path) -> Engine:
    """The live reference."""
    from converters.keras_engine import KerasEngine
    from converters.quiet import quiet

    with quiet():
        from edge_malaria.keras_layers import load_model, strip_fake_quant

        return KerasEngine(strip_fake_quant(load_model(path)))


def timed(bundle: Path, dataset: Dataset | None, **options: Any) -> tuple[ParityReport, float]:
    """The report and its wall time in seconds."""
    started = time.perf_counter()
    report = gate(bundle, dataset=dataset, split="test", **options)
    return report, round(time.perf_counter() - started, 2)


def suite_seconds(bundle: Path) -> float:
    """Wall time of the pytest suite without a data set, start of Python included."""
    command = [sys.executable, "-m", "pytest", "-q", "--pyargs", "edge_malaria.parity_suite"]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([*command, "--bundle", str(bundle)], check=True, cwd=folder)
        return round(time.perf_counter() - started, 2)


def on_arm(
    bundle: Path, dataset: Path, split: str, processor: processors.Processor
) -> dict[str, Any]:
    """Bits of the int8 files on ARM against this machine, from the encoded pictures."""
    reason = arm_root.why_not(arm_root.AARCH64)
    if reason:
        return {"not_run": reason}
    opened = read_bundle(bundle)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = folder / "here.npz"
        command = [sys.executable, GUEST, bundle, dataset, split, here]
        subprocess.run([str(word) for word in command], check=True)
        binds = {"mnt/bundle": bundle, "mnt/data": dataset.parent, "mnt/out": folder}
        arguments = ["/mnt/bundle", f"/mnt/data/{dataset.name}", split, "/mnt/out/there.npz"]
        arm.run_python(arm_root.AARCH64, processor, GUEST, arguments, binds, ARM_S)
        with np.load(here) as one, np.load(folder / "there.npz") as other:
            return _compared(opened, dict(one), dict(other))


def _compared(bundle: Bundle, here: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    levels = np.abs(here["inputs"].astype(np.int16) - there["inputs"])
    alike = ~(levels > 0).any(axis=(1, 2, 3))
    found: dict[str, Any] = {
        "machine": str(there["machine"]),
        "cells_with_identical_inputs": int(alike.sum()),
        "cells_with_other_inputs": int((~alike).sum()),
        "input_values_that_differ": int(np.count_nonzero(levels)),
        "input_values": int(levels.size),
        "largest_difference_in_grey_levels": int(levels.max()),
    }
    for name in (key for key in there if key.endswith(".int8")):
        place, _, file = name.rpartition("/")
        spec = (bundle.second if place and bundle.second else bundle).classifier
        output = spec.file("int8", file.partition(".")[0]).output
        same_inputs = alike[::SECOND_EVERY] if place else alike
        threshold = spec.threshold("balanced")
        decision = Decision(spec, threshold)
        calls = [
            decision.probabilities(dequantize(side[name], output)) >= threshold
            for side in (here, there)
        ]
        differing = int(np.count_nonzero(here[name] != there[name]))
        found[name] = {
            "cells": len(here[name]),
            "identical_bits": 1.0 - differing / len(here[name]),
            "differing_cells": differing,
            "differing_cells_with_identical_inputs": int(
                np.count_nonzero((here[name] != there[name]) & same_inputs)
            ),
            "same_call": float(np.mean(calls[0] == calls[1])),
        }
    return found


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--arm", action="store_true")
    options = parser.parse_args()
    live: dict[str, Any] = {}
    if options.reference is not None:
        live["reference"] = keras_engine(options.reference)
        second = options.reference.with_name(SECOND_FILE)
        if read_bundle(options.bundle).second is not None:
            live["second"] = Beside(reference=keras_engine(second))
    dataset = open_dataset(options.data)
    _, drawn_s = timed(options.bundle, None)
    report, data_s = timed(options.bundle, dataset, **live)
    figures: dict[str, Any] = {
        "bundle": report.bundle,
        "int8_sha256": shipped_sha256(options.bundle),
        "seconds": {
            "gate_without_data_set": drawn_s,
            "pytest_suite_without_data_set": suite_seconds(options.bundle),
            "gate_with_test_cells": data_s,
        },
        "report": report.as_json(),
        "why_onnx_int8_differs": WHY_ONNX_DIFFERS,
    }
    if options.arm:
        figures["arm_cortex_a72"] = on_arm(
            options.bundle, options.data, "test", processors.CORTEX_A72
        )
    words = "--reference edge_malaria/models/default.keras " if options.reference else ""
    command = f"python -m benchmarks.parity.real_cells --data DATASET {words}" + (
        "--arm" if options.arm else ""
    )
    path = write_evidence("parity", command.strip(), figures, seed=report.settings.seed)
    print(f"{'passed' if report.passed else 'FAILED'}, wrote {path.name}")


if __name__ == "__main__":
    main()
