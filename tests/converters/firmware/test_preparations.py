"""A bundle whose cells are prepared in another way: the device and the C files follow it alike."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.firmware.to_c import generate_from_bundle
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.bundle.spec import Bundle
from edge_malaria.files import write_image
from edge_malaria.prepare.contract import MASKS, RESIZES, Preparation
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.prepare.stain import StainScaling
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.synthetic import draw_cell
from tests.second import without_second
from tests.stained import with_contract

HOST = Path(__file__).resolve().parents[3] / "firmware_examples" / "c_host"


def _prepared(shipped: Path, resize: str, mask: str = "black") -> Bundle:
    """The shipped bundle as if its network had been trained with cells of another preparation."""
    bundle = read_bundle(shipped)
    spec = bundle.classifier
    other = replace(spec, preparation=Preparation(spec.size_px, resize, mask))
    return replace(bundle, models={**bundle.models, "classifier": other})


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("resize", RESIZES)
def test_the_device_prepares_cells_as_the_bundle_says(
    shipped_bundle: Path, resize: str, mask: str
) -> None:
    bundle = _prepared(shipped_bundle, resize, mask)
    rng = np.random.default_rng(2)
    cells = [draw_cell(rng, "ring", int(side)) for side in (31, 77, 140)]
    # Surroundings that only the mask can take away.
    crops = [np.where(c.mask[:, :, None], c.image, np.uint8(211)) for c in cells]
    masks = [c.mask for c in cells]
    classifier = Classifier(bundle, "float32", "litert")
    by_crops = classifier.classify(crops, masks)
    inputs = network_inputs(crops, bundle.classifier.target, masks)
    assert by_crops == classifier.predict_inputs(inputs)
    usual = classifier.predict_inputs(network_inputs(crops, bundle.classifier.size_px, masks))
    assert (by_crops == usual) == ((resize, mask) == ("area", "black"))


@pytest.mark.parametrize("resize", ["linear", "nearest", "pad"])
def test_the_c_files_scale_and_decide_as_python_does(tmp_path: Path, resize: str) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    # One small network: what is before it is tested.
    bundle = _prepared(SHIPPED_MODELS / "micro", resize, "none")
    generate_from_bundle(bundle, tmp_path / "c", cells=2)
    header = (tmp_path / "c" / "edge_malaria_model.h").read_text()
    assert f"#define EDGE_MALARIA_RESIZE {RESIZES.index(resize)}\n" in header
    assert "#define EDGE_MALARIA_MASK_BLACK 0\n" in header
    assert "#define EDGE_MALARIA_SCALES_STAIN 0\n" in header
    build = [f"GENERATED={tmp_path / 'c'}", f"BUILD={tmp_path / 'build'}"]
    subprocess.run(["make", "-s", "-C", HOST, *build], check=True)
    rng = np.random.default_rng(3)
    crops = [draw_cell(rng, "ring", int(side)).image for side in rng.integers(20, 200, 24)]
    paths = [tmp_path / f"{index:02d}.png" for index in range(len(crops))]
    for path, crop in zip(paths, crops, strict=True):
        write_image(path, crop)
    program = tmp_path / "build" / "classify_cell"
    ran = subprocess.run([program, *paths], capture_output=True, text=True, check=True)
    raw = [int(line.split("\t")[3]) for line in ran.stdout.splitlines()[1:]]
    engine = Classifier(bundle, engine="litert").engine
    inputs = network_inputs(crops, bundle.classifier.target)
    assert raw == engine.run_raw(inputs).reshape(-1).tolist()


def test_the_header_says_what_a_slides_colour_is_scaled_to(
    shipped_bundle: Path, tmp_path: Path
) -> None:
    alone = without_second(shipped_bundle, tmp_path / "alone")
    stained = with_contract(alone, tmp_path / "stained", StainScaling((170, 120, 150)))
    generate_from_bundle(read_bundle(stained), tmp_path / "c", cells=2)
    header = (tmp_path / "c" / "edge_malaria_model.h").read_text()
    assert "#define EDGE_MALARIA_SCALES_STAIN 1\n" in header
    assert "#define EDGE_MALARIA_HOME_RGB {170, 120, 150}\n" in header
