"""The cell finder in a bundle: converted, quantized and gated on drawn fields.

Its int8 ranges come from drawn fields (the shipped finder must export with no data set), and its
gate asks what matters of a finder: does the exported file find the same cells as Keras does?
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from converters import metadata, to_onnx, to_tflite
from converters.keras_engine import KerasEngine
from converters.quiet import quiet
from edge_malaria.bundle.file_spec import ENGINE_FORMATS, FileSpec
from edge_malaria.bundle.format import sha256_hex
from edge_malaria.bundle.golden import FOLDER
from edge_malaria.bundle.golden_draw import pack_arrays
from edge_malaria.errors import GateFailed
from edge_malaria.files import sha256_of, write_bytes
from edge_malaria.parity.finder_stage import (
    FILE,
    LEAST_AGREEMENT,
    LEAST_CELLS,
    agreement,
    drawn_fields,
    golden_arrays,
    red_boxes,
)
from edge_malaria.records import Image
from edge_malaria.runtime.detect.learned import NOMINAL_DIAMETER_PX
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import installed_engines, open_engine
from edge_malaria.synthetic import draw_field

VARIANTS = ("float32", "int8")
CALIBRATION_FIELDS = 24
CALIBRATION_SIDE_PX = 320
# Fields that calibrate and fields that judge (``parity.finder.SEED``) have different seeds.
CALIBRATION_SEED = 52_000


def add_finder(
    directory: Path, model: Path, formats: tuple[str, ...], log: Callable[[str], None]
) -> dict[str, Any]:
    """Writes the finder's files into a bundle in the making.

    Args:
        directory: the bundle's directory.
        model: the finder's .keras file.
        formats: of tflite and onnx.
        log: takes one line a step.

    Returns:
        The object ``models.finder`` of bundle.json.

    Raises:
        GateFailed: an exported file does not find the cells that Keras finds.
    """
    with quiet():
        from edge_malaria.keras_layers import load_model

        keras_model = load_model(model)
    variants = {}
    for variant in VARIANTS:
        started = time.monotonic()
        specs = _convert(directory, keras_model, variant, formats)
        variants[variant] = [spec.as_json() for spec in specs]
        sizes = ", ".join(f"{spec.file} {spec.bytes / 1000:.1f} kB" for spec in specs)
        log(f"finder    {variant}: {sizes}, {time.monotonic() - started:.1f} s")
    gate = _gate(directory, KerasEngine(keras_model), variants, log)
    return {
        "task": "find-cells",
        "labels": ["red-cell", "white-cell", "platelet"],
        "preprocessing": {
            "size_px": 0,
            "steps": ["shrink-to-nominal-cell-diameter", "rgb-uint8"],
            "nominal_cell_diameter_px": NOMINAL_DIAMETER_PX,
        },
        "gate": gate,
        "variants": variants,
        "provenance": {"keras_sha256": sha256_of(model)},
    }


def _calibration() -> Image:
    """uint8 [N, side, side, 3]: pieces of drawn fields at several sizes around the nominal one."""
    rng = np.random.default_rng(CALIBRATION_SEED)
    pieces = []
    for index in range(CALIBRATION_FIELDS):
        image, truth = draw_field(CALIBRATION_SEED + index)
        widths = [o.box[2] - o.box[0] for o in truth.objects if o.is_red_cell and o.whole]
        scale = NOMINAL_DIAMETER_PX * rng.uniform(0.8, 1.3) / float(np.median(widths))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        side = CALIBRATION_SIDE_PX
        down, right = max(0, side - small.shape[0]), max(0, side - small.shape[1])
        full = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT)
        pieces.append(full[:side, :side])
    return np.stack(pieces).astype(np.uint8)


def _convert(directory: Path, model: Any, variant: str, formats: tuple[str, ...]) -> list[FileSpec]:
    calibration = _calibration() if variant == "int8" else None
    data = to_tflite.convert(model, variant, calibration)
    quantization = to_tflite.quantization_of(data)
    facts = {"task": "find-cells", "variant": variant, "quantization": quantization}
    specs = []
    for engine, suffix in ENGINE_FORMATS.items():
        if suffix not in formats:
            continue
        if suffix == "tflite":
            made = metadata.into_tflite(data, facts)
        else:
            opened = open_engine(data, "litert")
            tensors = {"input": opened.input, "output": opened.output}
            made = to_onnx.from_keras(model) if variant == "float32" else to_onnx.from_tflite(data)
            made = metadata.into_onnx(made, facts, tensors if variant == "int8" else None)
        name = f"finder.{variant}.{suffix}"
        write_bytes(directory / name, made)
        spec = open_engine(made, engine)
        specs.append(
            FileSpec(
                engine, name, len(made), sha256_hex(made), quantization, spec.input, spec.output
            )
        )
    return specs


def _gate(
    directory: Path, reference: Engine, variants: dict[str, Any], log: Callable[[str], None]
) -> dict[str, Any]:
    """Finds the cells of drawn fields with Keras and with every file that can run here.

    Keras's boxes are stored in the bundle, for ``edge-malaria parity`` to compare with.
    """
    started = time.monotonic()
    fields = drawn_fields()
    expected = red_boxes(reference, fields)
    write_bytes(directory / FOLDER / FILE, pack_arrays(golden_arrays(expected, fields)))
    agreed: dict[str, float] = {}
    for variant, specs in variants.items():
        for spec in specs:
            if spec["engine"] not in installed_engines():
                continue
            engine = open_engine(directory / spec["file"], spec["engine"])
            agreed[f"{spec['engine']}.{variant}"] = agreement(expected, red_boxes(engine, fields))
    cells = sum(map(len, expected))
    if not (cells >= LEAST_CELLS and agreed):
        raise GateFailed(
            f"finder gate: {cells} cells on drawn fields, at least {LEAST_CELLS} expected."
        )
    for name, share in agreed.items():
        least = LEAST_AGREEMENT[name.split(".", 1)[1]]
        if not (share >= least):
            raise GateFailed(
                f"finder gate: {name} finds {share:.4f} of the cells that Keras finds on drawn "
                f"fields (expected at least {least})."
            )
    log(
        f"finder    gate passed: {cells} drawn cells, agreement {min(agreed.values()):.4f}, "
        f"{time.monotonic() - started:.1f} s"
    )
    return {"passed": True, "evidence": "drawn", "cells": cells, "agreement": agreed}
