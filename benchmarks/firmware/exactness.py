"""Counts the output bits of the generated C file that differ from the interpreters'.

    python -m benchmarks.firmware.exactness [--bundle B] [--tflm PYTHON] [--data NIH] [--quick]

PYTHON is an interpreter with PyPI's tflite-micro (``--pre``), best in an environment of its own.
Without ``--data`` the bundle's drawn golden cells are the cells. Rounding 0 is held against
TensorFlow Lite Micro, 1 against LiteRT with XNNPACK (and against ONNX Runtime, for the record), 2
against LiteRT's reference kernels. The exit status is 1 where a compared bit differs.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import write_evidence
from benchmarks.firmware import drawn_networks, sweep
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import OPERATING_POINTS, Bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.engines.base import dequantize
from edge_malaria.runtime.engines.opening import open_engine

ORACLE = Path(__file__).with_name("tflm_oracle.py")
SEED = 20260101
COMMAND = (
    "python -m benchmarks.firmware.exactness --tflm PYTHON "
    "--data $EDGE_MALARIA_DATA/nih/cell_images.zip"
)


def run_tflm(
    python: str, models: dict[str, tuple[bytes, drawn_networks.Int8]]
) -> dict[str, drawn_networks.Int8]:
    """TensorFlow Lite Micro's outputs of each model; a model that it refuses is left out."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for name, (model, rows) in models.items():
            (folder / f"{name}.tflite").write_bytes(model)
            np.save(folder / f"{name}.in.npy", rows)
        subprocess.run([python, str(ORACLE), work], check=True, capture_output=True)
        return {
            path.name.removesuffix(".out.npy"): np.load(path) for path in folder.glob("*.out.npy")
        }


def cell_inputs_of(bundle: Bundle, data: Path | None, most: int) -> Image:
    """Network inputs uint8 [N, S, S, 3]: every test cell and, below ``most``, more cells."""
    if data is None:
        with np.load(io.BytesIO(bundle.read("golden/cells.npz"))) as stored:
            return np.asarray(stored["inputs"][:most], np.uint8)
    cells = open_dataset(data)
    rows = list(cells.select("test").rows)
    rows += list(cells.select("val").rows)[: max(0, most - len(rows))]
    rows += list(cells.select("train").rows)[: max(0, most - len(rows))]
    tables = SlideTables(cells, bundle.classifier.target)
    return np.stack([tables.input(row) for row in rows])


def count_cells(bundle: Bundle, inputs: Image, tflm: str | None) -> dict[str, Any]:
    """Differing outputs over the cells, by rounding and interpreter; None: not compared."""
    file = bundle.classifier.file("int8", "litert")
    model, rows = bundle.read(file.file), (inputs ^ np.uint8(128)).view(np.int8)
    with tempfile.TemporaryDirectory() as work:
        compiled = {
            rounding: sweep.CompiledNetwork(
                model, Path(work) / str(rounding), rounding=rounding, flags=("-O2",)
            ).run(rows)
            for rounding in (0, 1, 2)
        }
    onnx = bundle.classifier.file("int8", "onnx")
    others: dict[str, tuple[int, drawn_networks.Int8 | None]] = {
        "LiteRT with XNNPACK": (1, open_engine(model, "litert").run_raw(inputs)),
        "ONNX Runtime": (1, open_engine(bundle.read(onnx.file), "onnx").run_raw(inputs)),
        "LiteRT reference kernels": (2, sweep.run_litert(model, rows, reference=True)),
        "TensorFlow Lite Micro": (0, None),
    }
    if tflm:
        others["TensorFlow Lite Micro"] = (0, run_tflm(tflm, {"cells": (model, rows)})["cells"])
    differing = {
        name: None if told is None else int((told.reshape(-1) != compiled[rounding][:, 0]).sum())
        for name, (rounding, told) in others.items()
    }
    return {
        "cells": len(inputs),
        "model_sha256": file.sha256,
        "differing_outputs": differing,
        "rounding_0_against_1": _modes(bundle, compiled[0], compiled[1]),
        "rounding_1_against_onnx": _modes(bundle, others["ONNX Runtime"][1], compiled[1]),
    }


def _modes(bundle: Bundle, a: Any, b: Any) -> dict[str, Any]:
    """How far two sets of raw outputs are apart, in steps and in calls at both thresholds."""
    spec = bundle.classifier
    form = spec.file("int8", "litert").output
    raw = [np.asarray(values).reshape(-1) for values in (a, b)]
    chances = [
        probability(
            dequantize(r, form),
            spec.decision.temperature,
            spec.decision.bias,
        )
        for r in raw
    ]
    steps = np.abs(raw[0].astype(int) - raw[1])
    return {
        "differing_outputs": int((steps > 0).sum()),
        "largest_step": int(steps.max()),
        "differing_decisions": {
            point: int(((chances[0] >= limit) != (chances[1] >= limit)).sum())
            for point in OPERATING_POINTS
            for limit in [spec.threshold(point)]
        },
    }


def count_sweep(cases: int, rows: int, tflm: str | None) -> dict[str, Any]:
    """Differing outputs over random operators, by operator, rounding and interpreter."""
    rng = np.random.default_rng(SEED)
    compared: Counter[str] = Counter()
    beside_xnnpack: Counter[str] = Counter()
    differing: dict[str, int] = {"LiteRT with XNNPACK": 0, "LiteRT reference kernels": 0}
    queue: dict[str, tuple[bytes, drawn_networks.Int8]] = {}
    ours: dict[str, drawn_networks.Int8] = {}
    with tempfile.TemporaryDirectory() as work:
        for number in range(cases):
            for kind in drawn_networks.KINDS:
                case = kind(rng)
                x = sweep.draw_inputs(rng, case, rows)
                told = {
                    1: sweep.run_litert(case.tflite, x, reference=False),
                    2: sweep.run_litert(case.tflite, x, reference=True),
                }
                name = f"{kind.__name__}-{number}"
                got = {
                    r: sweep.CompiledNetwork(
                        case.tflite, Path(work) / f"{name}-{r}", rounding=r
                    ).run(x)
                    for r in (0, 1, 2)
                }
                compared[case.operator] += x[:, ...].shape[0] * got[0].shape[1]
                xnnpack = int((got[1] != told[1]).sum())
                if case.operator in sweep.WITHOUT_XNNPACK:
                    beside_xnnpack[case.operator] += xnnpack
                else:
                    differing["LiteRT with XNNPACK"] += xnnpack
                differing["LiteRT reference kernels"] += int((got[2] != told[2]).sum())
                queue[name], ours[name] = (case.tflite, x), got[0]
    result: dict[str, Any] = {"cases": len(queue), "outputs": dict(compared)}
    if tflm:
        answers = run_tflm(tflm, queue)
        wrong = sum(int((ours[name] != rows).sum()) for name, rows in answers.items())
        result["outputs_against_tflm"] = sum(rows.size for rows in answers.values())
        result["refused_by_tflm"] = len(queue) - len(answers)
        differing["TensorFlow Lite Micro"] = wrong
    result["differing_where_litert_does_not_use_xnnpack"] = dict(beside_xnnpack)
    return {**result, "outputs_in_total": sum(compared.values()), "differing_outputs": differing}


def main() -> int:
    """Prints the counts and writes docs/evidence/firmware_exactness.json unless ``--quick``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("edge_malaria/models/default"))
    parser.add_argument("--tflm", help="Python with tflite-micro")
    parser.add_argument("--data", type=Path, help="NIH layout, for real test cells")
    parser.add_argument("--quick", action="store_true", help="few cells and operators")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    inputs = cell_inputs_of(bundle, options.data, 64 if options.quick else 5000)
    cells = count_cells(bundle, inputs, options.tflm)
    swept = count_sweep(2 if options.quick else 40, 10 if options.quick else 60, options.tflm)
    figures = {"cells": cells, "operators": swept}
    print(figures)
    if not options.quick:
        write_evidence("firmware_exactness", COMMAND, figures, SEED)
    counts = {**cells["differing_outputs"]}
    # ONNX Runtime computes the mean in float32: counted and reported, never identical by design.
    counts.pop("ONNX Runtime")
    return 0 if not any([*counts.values(), *swept["differing_outputs"].values()]) else 1


if __name__ == "__main__":
    sys.exit(main())
