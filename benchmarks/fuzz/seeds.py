"""Sound files to start from, and the folder of this process that they are made in."""

from __future__ import annotations

import atexit
import io
import json
import os
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from edge_malaria.bundle.contents import read_contents
from edge_malaria.bundle.format import write_index
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.files import encode_image
from edge_malaria.runtime.slide import journal, line_coding
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.store.backup import write_backup
from edge_malaria.runtime.store.database import open_database
from edge_malaria.runtime.store.slides import SLIDES
from edge_malaria.synthetic import DrawnKind, draw_cell

MICRO = SHIPPED_MODELS / "micro"


@cache
def scratch() -> Path:
    """A folder of this process, in memory where the system has such a place."""
    fast = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=fast if fast.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def micro() -> dict[str, bytes]:
    """The files of the shipped micro bundle."""
    return read_contents(MICRO)


def backup_zip() -> bytes:
    """Of a device with one slide, whose journal is not looked into."""
    # A folder in memory is refused where a device would lose its slides.
    os.environ.setdefault("EDGE_MALARIA_FORGETFUL_DISK", "1")
    data, target = scratch() / "device", scratch() / "sound.zip"
    open_database(data).close()
    slide = data / SLIDES / "s1"
    slide.mkdir(parents=True)
    (slide / journal.NAME).write_bytes(b"".join(lines()))
    write_backup(data, target)
    return target.read_bytes()


@cache
def dataset_folder() -> Path:
    """Four drawn cells in the NIH layout."""
    root = scratch() / "cells"
    rng = np.random.default_rng(0)
    kinds: tuple[tuple[str, DrawnKind], ...] = (("Parasitized", "ring"), ("Uninfected", "healthy"))
    for name, kind in kinds:
        (root / name).mkdir(parents=True)
        for index in range(2):
            image = draw_cell(rng, kind, 24).image
            (root / name / f"C{index}_cell_{index}.png").write_bytes(encode_image(image))
    return root


def dataset_zip() -> bytes:
    """The same as an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(dataset_folder().rglob("*.png")):
            archive.write(path, f"cell_images/{path.parent.name}/{path.name}")
    return buffer.getvalue()


def bundle_zip() -> bytes:
    """A small zip with a sound index: what is in it need not be a whole bundle."""
    folder = scratch() / "small"
    folder.mkdir()
    record = json.loads((MICRO / "bundle.json").read_text())
    (folder / "README.md").write_text("x")
    write_index(folder, record)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"b/{path.name}")
    return buffer.getvalue()


def pictures() -> list[bytes]:
    """One drawn cell in every kind of picture, and a file of two pages."""
    image = draw_cell(np.random.default_rng(1), "ring", 40).image
    kinds = (".png", ".jpg", ".bmp", ".tif", ".webp")
    ok, pages = cv2.imencodemulti(".tif", [image, image])
    return [*(encode_image(image, suffix) for suffix in kinds), *([pages.tobytes()] * bool(ok))]


def clip() -> bytes:
    """A film of three grey frames."""
    path = scratch() / "seed.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for level in (60, 120, 180):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path.read_bytes()


def lines() -> list[bytes]:
    """The header line of a journal."""
    header = HeaderLine(("fields",), "0" * 64, {"variant": "int8", "cells": None})
    return [line_coding.encoded(header)]
