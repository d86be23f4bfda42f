"""The cell finder in a bundle: converted and quantized like the classifier, with its own goldens.

Its int8 ranges come from drawn fields (the shipped finder must export with no data set). Its golden
is what matters of a finder: the cells that Keras finds in drawn fields. The gate then compares what
each file finds.
"""

from __future__ import annotations

import time

import cv2
import numpy as np

from converters import to_tflite
from converters.keras_engine import KerasEngine
from converters.quiet import quiet
from edge_malaria.bundle.golden import FOLDER
from edge_malaria.bundle.golden_write import pack_arrays
from edge_malaria.export.convert import Network, Work, log_variant, write_variant
from edge_malaria.files import sha256_of, write_bytes
from edge_malaria.parity.finder_stage import FILE, drawn_fields, golden_arrays, red_boxes
from edge_malaria.records import Image
from edge_malaria.runtime.detect.learned import NOMINAL_DIAMETER_PX
from edge_malaria.synthetic import draw_field

VARIANTS = ("float32", "int8")
CALIBRATION_FIELDS = 24
CALIBRATION_SIDE_PX = 320
# Fields that calibrate and fields that judge (``parity.finder_stage.SEED``) have different seeds.
CALIBRATION_SEED = 52_000


def add_finder(work: Work) -> None:
    """Writes the finder's files and its golden boxes, where the model ships with a finder."""
    if work.source.finder is None:
        return
    with quiet():
        from edge_malaria.keras_layers import load_model

        keras = load_model(work.source.finder)
    network = Network("finder", keras, {"task": "find-cells"})
    variants = {}
    for variant in VARIANTS:
        started = time.monotonic()
        data = to_tflite.convert(keras, variant, _calibration() if variant == "int8" else None)
        specs = write_variant(work.directory, network, variant, data, work.options.formats)
        variants[variant] = [spec.as_json() for spec in specs]
        log_variant(work.log, "finder", variant, specs, started)
    boxes = red_boxes(KerasEngine(keras), drawn_fields())
    write_bytes(work.directory / FOLDER / FILE, pack_arrays(golden_arrays(boxes, drawn_fields())))
    work.finder = {
        "task": "find-cells",
        "labels": ["red-cell", "white-cell", "platelet"],
        "preprocessing": {
            "size_px": 0,
            "steps": ["shrink-to-nominal-cell-diameter", "rgb-uint8"],
            "nominal_cell_diameter_px": NOMINAL_DIAMETER_PX,
        },
        "gate": None,
        "variants": variants,
        "provenance": {"keras_sha256": sha256_of(work.source.finder)},
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
