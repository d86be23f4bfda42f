"""CIFAR-100, where the user has it: read without running anything from the file.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Three forms are read:
``cifar-100-binary.tar.gz`` or its folder (train.bin, test.bin: plain bytes), and
``cifar-100-python.tar.gz`` or its folder (train, test: pickles, which could run code; only arrays,
lists, texts and numbers are let through).
"""

from __future__ import annotations

import io
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DatasetError
from edge_malaria.records import Image

SIDE_PX = 32
CLASSES = 100
PIXELS = 3 * SIDE_PX * SIDE_PX
# Coarse label, fine label, then red, green and blue planes, row by row.
RECORD = 2 + PIXELS
# What a pickled numpy array is made of; nothing else is looked up.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures and their fine classes.

    Attributes:
        images: uint8 [N, 32, 32, 3] RGB.
        labels: int64 [N], 0 to 99.
    """

    images: Image
    labels: NDArray[np.int64]


def read_cifar100(path: Path) -> tuple[LabelledImages, LabelledImages]:
    """(train, test) of a CIFAR-100 archive or folder.

    Raises:
        DatasetError: missing, of another layout, or damaged.
    """
    files = _files(path)
    for suffix, read in ((".bin", _from_binary), ("", _from_python)):
        names = [f"{part}{suffix}" for part in ("train", "test")]
        if all(name in files for name in names):
            train, test = (read(files[name], f"{path.name}/{name}") for name in names)
            return train, test
    raise DatasetError(
        f"{path} is not CIFAR-100: expected train.bin and test.bin (cifar-100-binary.tar.gz), or "
        "train and test (cifar-100-python.tar.gz)."
    )


def _files(path: Path) -> dict[str, bytes]:
    """Contents by bare name of what may be ours: train, test, train.bin, test.bin."""
    wanted = {"train", "test", "train.bin", "test.bin"}
    if path.is_dir():
        found = [item for item in path.rglob("*") if item.is_file() and item.name in wanted]
        return {item.name: item.read_bytes() for item in found}
    if not path.is_file():
        raise DatasetError(f"CIFAR-100 at {path} does not exist.")
    files = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isfile() and name in wanted:
                    handle = archive.extractfile(member)
                    files[name] = handle.read() if handle else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DatasetError(f"{path} is no readable tar archive ({error}).") from error
    return files


def _from_binary(data: bytes, name: str) -> LabelledImages:
    if len(data) == 0 or len(data) % RECORD:
        raise DatasetError(f"{name}: expected records of {RECORD} bytes, got {len(data)} bytes.")
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    return _labelled(records[:, 2:], records[:, 1].astype(np.int64), name)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        # Python-2 pickles name numpy's old module.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _from_python(data: bytes, name: str) -> LabelledImages:
    try:
        table = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        pixels = np.asarray(table[b"data"], np.uint8)
        labels = np.asarray(table[b"fine_labels"], np.int64)
    # A damaged pickle raises nearly anything; none of it has run code.
    except Exception as error:
        raise DatasetError(f"{name} is no CIFAR-100 file, or refused: {error}.") from error
    return _labelled(pixels, labels, name)


def _labelled(pixels: Image, labels: NDArray[np.int64], name: str) -> LabelledImages:
    right = pixels.ndim == 2 and pixels.shape == (len(labels), PIXELS) and len(labels) > 0
    if not (right and labels.min() >= 0 and labels.max() < CLASSES):
        raise DatasetError(f"{name}: expected rows of {PIXELS} values and classes 0-99.")
    planes = pixels.reshape(-1, 3, SIDE_PX, SIDE_PX)
    return LabelledImages(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)
