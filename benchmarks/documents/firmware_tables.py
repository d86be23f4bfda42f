"""Tables of docs/FIRMWARE.md: bits, sizes, the camera example."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.documents.markdown import evidence, figure, table
from benchmarks.evidence_file import ROOT

MODELS = ("default", "micro")
AGAINST = (
    ("0", "TensorFlow Lite Micro"),
    ("2", "LiteRT reference kernels"),
    ("1", "LiteRT with XNNPACK"),
)


def exactness() -> str:
    """Outputs that differ from the interpreters', on cells and on random operators."""
    name = "firmware_exactness"
    rows = [
        (
            rounding,
            other,
            figure(name, f"cells.differing_outputs.{other}", ",d"),
            figure(name, f"operators.differing_outputs.{other}", ",d")
            + (" (softmax apart)" if rounding == "1" else ""),
        )
        for rounding, other in AGAINST
    ]
    rows.append(
        ("1", "ONNX Runtime", figure(name, "cells.differing_outputs.ONNX Runtime", ",d"), "")
    )
    cells = figure(name, "cells.cells", ",d")
    outputs = figure(name, "operators.outputs_in_total", ",d")
    cases = figure(name, "operators.cases", "d")
    columns = (
        "rounding",
        "against",
        f"differing, of {cells} cells",
        f"differing, of {outputs} outputs of {cases} random operators",
    )
    return table(columns, rows)


def differences() -> str:
    """Where bits cannot be the same: how many, how far, how many calls."""
    name = "firmware_exactness"
    rows = [
        (
            words,
            figure(name, f"cells.{key}.differing_outputs", ",d"),
            figure(name, f"cells.{key}.largest_step", "d"),
            figure(name, f"cells.{key}.differing_decisions.balanced", "d"),
            figure(name, f"cells.{key}.differing_decisions.screening", "d"),
        )
        for words, key in (
            ("rounding 1 against ONNX Runtime", "rounding_1_against_onnx"),
            ("rounding 0 against rounding 1", "rounding_0_against_1"),
        )
    ]
    columns = (
        "",
        "outputs that differ",
        "largest difference, steps of 256",
        "calls that change, balanced point",
        "calls that change, screening point",
    )
    return table(columns, rows)


def chip_limits() -> dict[str, str]:
    """Chip -> its flash and RAM, as firmware_examples/targets.py has them."""
    where = ROOT / "firmware_examples" / "targets.py"
    spec = importlib.util.spec_from_file_location("firmware_targets_list", where)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    chips = [chip for target in module.TARGETS for chip in target.chips]
    return {c.name: f"{c.name}: {c.flash_kb:,} KB, {c.ram_kb} KB" for c in chips}


def sizes() -> str:
    """Flash, RAM and instructions of both networks on every target."""
    found, limits = evidence("firmware_targets") or {}, chip_limits()
    rows = [
        (
            model,
            row["target"],
            limits[row["chip"]],
            *(f"{row[key]:,}" for key in ("flash_bytes", "ram_bytes", "stack_bytes")),
            f"{row['instructions']:,}",
            f"{row['second_instructions']:,}" if "second_instructions" in row else "",
        )
        for model in MODELS
        for row in found[model]["rounding_0"]
    ]
    columns = ("network", "target", "chip's limits", "flash (bytes)", "RAM (bytes)", "stack")
    return table((*columns, "instructions", "instructions, second network"), rows)


def camera() -> str:
    """The camera example beside Python."""
    name = "firmware_camera"
    rows = [
        (words, figure(name, key, ",d"))
        for words, key in (
            ("drawn frames, every other one with a neighbour at the border", "frames"),
            ("the cell was found", "found"),
            ("same label as Python's preprocessing and engine give with that mask", "same_label"),
            ("largest difference of the raw output, in steps", "largest_raw_step"),
            ("same mask as Python's own isolation finds, to the pixel", "same_mask"),
            ("same label with each side's own mask", "same_label_own_masks"),
        )
    ]
    return table(("", "frames"), rows)


def check_time() -> str:
    """What ``check.sh`` takes."""
    name = "firmware_targets"
    rows = (
        ("processor seconds of one core", figure(name, "check.processor_s", ".0f")),
        ("seconds on the busy machine that recorded it", figure(name, "check.wall_s", "d")),
    )
    return table(("`check.sh`, its tools installed", ""), rows)


TABLES: dict[str, Callable[[], str]] = {
    "firmware-exactness": exactness,
    "firmware-differences": differences,
    "firmware-sizes": sizes,
    "firmware-camera": camera,
    "firmware-check": check_time,
}
