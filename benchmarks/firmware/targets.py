"""Flash, RAM, stack and instructions of the shipped networks on every bare target.

    python -m benchmarks.firmware.targets [--update]

Needs the cross compilers and qemu (firmware_examples/check.sh installs them). Writes
docs/evidence/firmware_targets.json, with the seconds of firmware_examples/check.sh once its tools
are there. ``--update`` first records the sizes and instructions as the budget. A model that does
not ship yet is measured on its architecture with untrained weights: the figures depend on the
layers alone.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import ROOT, write_evidence
from converters.firmware import to_c
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.files import write_json

sys.path.insert(0, str(ROOT / "firmware_examples"))
import targets  # type: ignore[import-not-found]

MODELS = {"default": "compact", "micro": "micro"}
# The last one where there is a second network.
KEPT = (
    "target", "chip", "flash_bytes", "ram_bytes", "stack_bytes", "instructions",
    "second_instructions",
)  # fmt: skip


def generate(model: str, folder: Path) -> to_c.Firmware:
    """The C files of a shipped model, or of its untrained architecture."""
    if shipped_bundle(model).is_dir():
        return to_c.generate_from_bundle(read_bundle(shipped_bundle(model)), folder)
    from converters.to_tflite import convert
    from edge_malaria.training.architectures import registry as architectures

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
            tables[f"rounding_{rounding}"] = [
                {key: row[key] for key in KEPT if key in row} for row in rows
            ]
    return {
        "model": made.identity.name,
        "sha256": made.identity.sha256,
        "shipped": shipped_bundle(model).is_dir(),
        "macs": made.macs,
        "constants_bytes": dict(made.flash_bytes),
        "working_memory_bytes": made.ram_bytes,
        **tables,
    }


def check_seconds() -> dict[str, float]:
    """Wall and processor seconds of firmware_examples/check.sh with its tools there; it must pass.

    On a busy machine the wall says more about the others: the processor seconds are what one idle
    core would need.

    Raises:
        SystemExit: it failed.
    """
    script = ["bash", str(ROOT / "firmware_examples" / "check.sh")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        script, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = re.search(r"passed in (\d+) s", done.stdout)
    if done.returncode or took is None:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SystemExit(f"error: firmware_examples/check.sh failed:\n{tail}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": int(took[1]), "processor_s": round(used, 1)}


def write_budget(model: str, rows: list[dict[str, Any]]) -> None:
    """Today's figures as the budget that check.sh holds the model to."""
    path = ROOT / "firmware_examples" / "budget" / f"{model}.json"
    write_json(path, targets.budget_of(rows))


def main() -> None:
    """Measures both models and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="record a new budget")
    update = parser.parse_args().update
    figures: dict[str, Any] = {model: measure(model) for model in MODELS}
    if update:
        for model, table in figures.items():
            write_budget(model, table["rounding_0"])
    figures["check"] = check_seconds()
    write_evidence("firmware_targets", "python -m benchmarks.firmware.targets", figures)
    print(f"firmware_examples/check.sh: {figures.pop('check')}")
    for model, table in figures.items():
        for row in table["rounding_0"]:
            print(model, *row.values())


if __name__ == "__main__":
    main()
