"""Flash, RAM, stack and instructions of the shipped networks on every bare target.

    python -m benchmarks.firmware_targets

Needs the cross compilers and qemu (firmware_examples/check.sh installs them). Writes
docs/evidence/firmware_targets.json. A model that does not ship yet is measured on its architecture
with untrained weights: the figures depend on the layers alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import ROOT, write_evidence
from converters import to_c
from edge_malaria.bundle import read_bundle
from edge_malaria.runtime.classify import shipped_bundle

sys.path.insert(0, str(ROOT / "firmware_examples"))
import targets

MODELS = {"default": "compact", "micro": "micro"}
KEPT = ("target", "chip", "flash_bytes", "ram_bytes", "stack_bytes", "instructions")


def generate(model: str, folder: Path) -> to_c.Firmware:
    """The C files of a shipped model, or of its untrained architecture."""
    if shipped_bundle(model).is_dir():
        return to_c.generate_from_bundle(read_bundle(shipped_bundle(model)), folder)
    from converters.to_tflite import convert
    from edge_malaria.training import architectures

    network = architectures.build(MODELS[model])
    size_px = int(network.input_shape[1])
    noise = np.random.default_rng(1).integers(0, 256, (32, size_px, size_px, 3)).astype(np.uint8)
    file = folder.with_name(f"untrained-{model}.tflite")
    file.write_bytes(convert(network, "int8", noise))
    return to_c.generate(file, folder)


def measure(model: str) -> dict[str, Any]:
    """The table of one model, in both roundings."""
    with tempfile.TemporaryDirectory() as work:
        made = generate(model, Path(work) / "c")
        tables = {}
        for rounding in (0, 1):
            define = (f"-DEDGE_MALARIA_ROUNDING={rounding}",)
            rows = [targets.measure(target, made.folder, define) for target in targets.TARGETS]
            wrong = [row for row in rows if "instructions" not in row or "failed" in row]
            if wrong:
                raise SystemExit(f"error: {model}, rounding {rounding}: {wrong[0]}")
            tables[f"rounding_{rounding}"] = [{key: row[key] for key in KEPT} for row in rows]
    return {
        "model": made.identity.name,
        "sha256": made.identity.sha256,
        "shipped": shipped_bundle(model).is_dir(),
        "macs": made.macs,
        "constants_bytes": dict(made.flash_bytes),
        "working_memory_bytes": made.ram_bytes,
        **tables,
    }


def main() -> None:
    """Measures both models and writes the evidence."""
    figures = {model: measure(model) for model in MODELS}
    write_evidence("firmware_targets", "python -m benchmarks.firmware_targets", figures)
    for model, table in figures.items():
        for row in table["rounding_0"]:
            print(model, *row.values())


if __name__ == "__main__":
    main()
