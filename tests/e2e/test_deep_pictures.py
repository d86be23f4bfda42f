"""A camera's 10, 12 or 14 bits stored in 16 without scaling, through ``screen`` and ``classify``.

Taken for 16 bits such a picture is nearly black: a field was refused as too dark, a crop was
called on a black square.
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.files import read_image, write_image
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_field
from tests.cli import run_cli

pytestmark = pytest.mark.usefixtures("shipped_bundle")


def write_deep(path: Path, image: Image, bits: int) -> None:
    """``image`` as a camera of so many bits stores it: the numbers as they are, in 16 bits."""
    path.parent.mkdir(exist_ok=True)
    deep = image.astype(np.uint16) << (bits - 8)
    assert cv2.imwrite(str(path), np.ascontiguousarray(deep[:, :, ::-1]))


def cells(report: Path) -> list[tuple[str, ...]]:
    """The rows of cells.csv, without the field's name."""
    with (report / "cells.csv").open(newline="") as handle:
        return [tuple(row.values())[1:] for row in csv.DictReader(handle)]


@pytest.mark.slow
def test_a_field_of_more_bits_gives_the_cells_of_its_eight(tmp_path: Path) -> None:
    image = draw_field(11, 960, 720, cell_diameter_px=60, parasitemia=0.1)[0]
    write_image(tmp_path / "eight" / "a.png", image)
    write_deep(tmp_path / "twelve" / "a.tif", image, 12)
    write_deep(tmp_path / "fourteen" / "a.png", image, 14)
    found = {}
    for name in ("eight", "twelve", "fourteen"):
        ran = run_cli("screen", tmp_path / name, "-o", tmp_path / f"r-{name}", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["fields_rejected"] == {}
        found[name] = cells(tmp_path / f"r-{name}")
    assert len(found["eight"]) > 20
    assert found["twelve"] == found["fourteen"] == found["eight"]


def test_a_crop_of_more_bits_gets_the_probability_of_its_eight(tmp_path: Path) -> None:
    drawn = ["data", "synth", "cells", "-o", tmp_path / "cells", "--cells", "40", "--seed", "1"]
    assert run_cli(*drawn).code == 0
    crops = sorted((tmp_path / "cells").rglob("*.png"))[::8]
    for crop in crops:
        image = read_image(crop)
        write_image(tmp_path / "eight" / crop.name, image)
        write_deep(tmp_path / "twelve" / crop.name, image, 12)
    said = [run_cli("classify", tmp_path / name, "--json").json for name in ("eight", "twelve")]
    eight, twelve = ([(c["label"], c["p_parasitized"]) for c in one] for one in said)
    assert len(eight) == len(crops) >= 4
    assert twelve == eight
