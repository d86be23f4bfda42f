"""classify_cell against the Python path: drawn crops as PNG and PPM, and damaged files.

python firmware_examples/c_host/check.py CLASSIFY_CELL BUNDLE
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_malaria.bundle.format import read_bundle
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.synthetic import draw_cell

CROPS = 60
# Area averages that OpenCV's float32 sums round to the other side move a raw output by a step.
MOST_DIFFERING = 1


def draw_crops(folder: Path) -> dict[Path, Image]:
    """Drawn crops of many sizes, written as PNG (colour, palette-free) and binary PPM."""
    rng = np.random.default_rng(11)
    crops = {}
    for index in range(CROPS):
        kind = ("healthy", "ring", "late-trophozoite")[index % 3]
        image = draw_cell(rng, kind, int(rng.integers(30, 220))).image  # type: ignore[arg-type]
        path = folder / f"{index:03d}.{'ppm' if index % 2 else 'png'}"
        cv2.imwrite(str(path), image[:, :, ::-1])
        crops[path] = image
    return crops


def main() -> int:
    """Exit status 0: at most one label in ``CROPS`` differs and damaged files are refused."""
    program, bundle = sys.argv[1], read_bundle(sys.argv[2])
    with tempfile.TemporaryDirectory() as work:
        crops = draw_crops(Path(work))
        ran = subprocess.run([program, *map(str, crops)], capture_output=True, text=True)
        rows = [line.split("\t") for line in ran.stdout.splitlines()[1:]]
        labels = {Path(row[0]): row[1] for row in rows}
        predictions = Classifier(bundle, engine="litert").classify(list(crops.values()))
        expected = dict(zip(crops, predictions, strict=True))
        differing = sum(
            labels.get(path) != ("parasitized" if told.positive else "uninfected")
            for path, told in expected.items()
        )
        damaged = refused(program, next(iter(crops)))
    print(f"classify_cell: {differing} of {CROPS} labels differ from Python's; {damaged}")
    sound = ran.returncode == 0 and len(labels) == CROPS and damaged == "damaged files refused"
    return 0 if sound and differing <= MOST_DIFFERING else 1


def refused(program: str, png: Path) -> str:
    """Cut and changed files must end with status 5 and never with a signal."""
    data = png.read_bytes()
    rng = np.random.default_rng(3)
    bad = png.with_name("bad.png")
    for attempt in range(40):
        changed = bytearray(data[: int(rng.integers(8, len(data)))])
        if attempt % 2:
            changed = bytearray(data)
            for position in rng.integers(8, len(data), 6):
                changed[position] = int(rng.integers(256))
        bad.write_bytes(bytes(changed))
        status = subprocess.run([program, str(bad)], capture_output=True).returncode
        if status not in (0, 5) or (status == 0 and not attempt % 2):
            return f"a damaged file ended with status {status}"
    return "damaged files refused"


if __name__ == "__main__":
    sys.exit(main())
