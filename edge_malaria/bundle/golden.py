"""The golden cells of a bundle: stored pixels, stored outputs, no data set needed.

Files, all below ``golden/`` in the bundle:

* ``cells.npz``: ``inputs`` uint8 [N, S, S, 3] drawn cells as the network sees them, ``near`` bool
  [N] whether the cell was made to lie close to the threshold, ``truth`` uint8 [N] (1 parasitized;
  of a blend, whether the reference calls it so), ``threshold_logit`` and ``seed``.
* ``crops/<name>.png`` and ``crops/<name>.mask.png``: encoded crops of several sizes with visible
  neighbourhood, and their masks; ``crops/inputs.npz``: ``names`` and the network inputs
  uint8 [M, S, S, 3] that decoding and preprocessing must give, bit for bit.
* ``keras.npz``: what Keras said before anything was converted: ``logits`` float32 [N],
  ``crop_logits`` float32 [M], and ``mistake_<k>`` float32 [K]: what it says of K cells
  (``mistake_rows``) when a common mistake is made on purpose, so that it can be named later; where
  the bundle asks cells again, ``averaged`` float32 [N], the mean logits of eight views, or
  ``second`` float32 [N], the second network's logits on the scale of the first.
* ``<engine>.<variant>.npz``: ``raw`` [N] and ``crop_raw`` [M], the file's output in its own dtype
  on the machine that exported it, and ``model_sha256``.

* ``finder.npz``, where the bundle has a cell finder: the boxes that Keras finds in drawn fields
  (``parity/finder_stage.py``).

Each output file holds ``cells_sha256``, the hash of the pixels it belongs to.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import BundleIntegrityError
from edge_malaria.files import decode_image
from edge_malaria.records import Image, Mask, expect

FOLDER = "golden"
# What numpy and zipfile raise for damaged archives.
_DAMAGE = (
    ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error,
    NotImplementedError, RuntimeError, MemoryError, OverflowError, SyntaxError,
)  # fmt: skip
# Enough to know a mistake by; Keras answers each mistake on them.
MISTAKE_CELLS, _LEAST_MISTAKE_CELLS = 128, 32
# 1,024 cells of 224 x 224 px take 147 MB.
MAX_ARRAY_BYTES = 512 << 20
# Half-width of the band around the threshold, in logits, that near cells are made to lie in.
NEAR_LOGITS = 1.0


@dataclass(frozen=True, eq=False)
class GoldenCrop:
    """One encoded crop: PNG bytes of the picture and of its mask."""

    name: str
    png: bytes
    mask_png: bytes

    def decoded(self) -> tuple[Image, Mask]:
        """The crop uint8 [H, W, 3] and its mask bool [H, W]."""
        mask = decode_image(self.mask_png, f"{self.name}.mask.png")[:, :, 0] > 127
        return decode_image(self.png, f"{self.name}.png"), mask


@dataclass(frozen=True, eq=False)
class GoldenCells:
    """The stored pixels; see the module's docstring."""

    inputs: Image
    near: NDArray[np.bool_]
    truth: NDArray[np.uint8]
    threshold_logit: float
    seed: int
    crops: tuple[GoldenCrop, ...]
    crop_inputs: Image

    def __post_init__(self) -> None:
        n = len(self.inputs)
        ok = self.inputs.ndim == 4 and self.inputs.dtype == np.uint8
        expect(ok, "golden inputs uint8 [N, S, S, 3]", (self.inputs.shape, self.inputs.dtype))
        expect(
            self.near.shape == self.truth.shape == (n,), f"near, truth of [{n}]", self.near.shape
        )
        expect(len(self.crops) == len(self.crop_inputs), "one input a crop", len(self.crops))

    @property
    def sha256(self) -> str:
        """Hash of the network inputs, of drawn cells and crops."""
        digest = hashlib.sha256(np.ascontiguousarray(self.inputs).data)
        digest.update(np.ascontiguousarray(self.crop_inputs).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class GoldenOutputs:
    """Stored outputs of one model on the golden cells.

    Attributes:
        raw: [N] in the file's own dtype (float32 logits for Keras).
        crop_raw: [M].
        cells_sha256: of the pixels they belong to.
        model_sha256: of the model file; empty for Keras.
        mistakes: name -> logits float32 [K], of Keras only.
        again: float32 [N], what decides about cells that are asked again, of Keras only; None
            where not stored.
    """

    raw: NDArray[Any]
    crop_raw: NDArray[Any]
    cells_sha256: str
    model_sha256: str = ""
    mistakes: Mapping[str, NDArray[np.float32]] | None = None
    again: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Goldens:
    """All that a bundle stores: the cells, Keras's outputs, and ``engine.variant`` -> outputs."""

    cells: GoldenCells
    keras: GoldenOutputs
    engines: Mapping[str, GoldenOutputs]


def mistake_rows(n: int) -> slice:
    """Which of ``n`` golden cells the ``mistake_<k>`` outputs belong to: evenly spread."""
    count = min(MISTAKE_CELLS, max(_LEAST_MISTAKE_CELLS, n // 8))
    step = max(1, n // count)
    return slice(0, min(n, step * count), step)


def load_arrays(contents: Mapping[str, bytes], name: str) -> dict[str, NDArray[Any]]:
    """The arrays of ``golden/<name>`` out of a bundle's bytes.

    Raises:
        BundleIntegrityError: missing or damaged.
    """
    path = f"{FOLDER}/{name}"
    if path not in contents:
        raise BundleIntegrityError(f"{path} is missing from the bundle. Export it again.")
    try:
        _check_sizes(contents[path])
        with np.load(io.BytesIO(contents[path]), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except _DAMAGE as error:
        raise BundleIntegrityError(f"{path} is damaged ({error}). Export it again.") from error


def _check_sizes(data: bytes) -> None:
    """What an archive unpacks to, by its own directory, before it is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"it unpacks to {size >> 20} MB, above {MAX_ARRAY_BYTES >> 20}")


def _outputs(contents: Mapping[str, bytes], name: str) -> GoldenOutputs:
    stored = load_arrays(contents, name)
    return GoldenOutputs(
        stored["raw"],
        stored["crop_raw"],
        str(stored["cells_sha256"]),
        str(stored["model_sha256"]),
    )


def _keras(contents: Mapping[str, bytes]) -> GoldenOutputs:
    stored = load_arrays(contents, "keras.npz")
    names = [str(name) for name in stored["mistakes"]]
    mistakes = {name: stored[f"mistake_{i}"] for i, name in enumerate(names)}
    sha256 = str(stored["cells_sha256"])
    again = stored.get("second", stored.get("averaged"))
    return GoldenOutputs(stored["logits"], stored["crop_logits"], sha256, "", mistakes, again)


def _crops(contents: Mapping[str, bytes], names: Sequence[str]) -> tuple[GoldenCrop, ...]:
    folder = f"{FOLDER}/crops"
    missing = [
        path
        for name in names
        for path in (f"{folder}/{name}.png", f"{folder}/{name}.mask.png")
        if path not in contents
    ]
    if missing:
        raise BundleIntegrityError(f"{missing[0]} is missing from the bundle. Export it again.")
    return tuple(
        GoldenCrop(name, contents[f"{folder}/{name}.png"], contents[f"{folder}/{name}.mask.png"])
        for name in names
    )


def read_goldens(contents: Mapping[str, bytes]) -> Goldens:
    """Reads the goldens out of a bundle's verified bytes (``Bundle.contents``).

    Raises:
        BundleIntegrityError: a file is missing or damaged.
    """
    stored = load_arrays(contents, "cells.npz")
    crops = load_arrays(contents, "crops/inputs.npz")
    try:
        cells = GoldenCells(
            stored["inputs"],
            stored["near"].astype(bool),
            stored["truth"].astype(np.uint8),
            float(stored["threshold_logit"]),
            int(stored["seed"]),
            _crops(contents, [str(name) for name in crops["names"]]),
            crops["inputs"],
        )
        stems = [
            name.removeprefix(f"{FOLDER}/").removesuffix(".npz")
            for name in sorted(contents)
            if name.startswith(f"{FOLDER}/") and name.count("/") == 1 and name.endswith(".npz")
        ]
        engines = {s: _outputs(contents, f"{s}.npz") for s in stems if "." in s}
        return Goldens(cells, _keras(contents), engines)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BundleIntegrityError(f"golden files: {error}. Export the bundle again.") from error
