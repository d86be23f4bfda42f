"""An int8 .tflite file, alone or in a bundle -> one dependency-free C99 source and its header.

graph (tflite_graph) -> kernel calls with placed buffers (firmware_network) -> text (emit)
-> golden cells (firmware_golden) -> compiled and compared on this machine (firmware_check)
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import tflite_graph
from converters.firmware import emit as firmware_emit
from converters.firmware import emit_golden
from converters.firmware import network as firmware_network
from converters.firmware.check import check_on_host
from converters.firmware.decide import decide, decide_by_second
from converters.firmware.golden import expected_outputs
from converters.firmware.identity import Identity, Second
from converters.firmware.network import Network
from converters.firmware.steps import Refused
from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.bundle.spec import OPERATING_POINTS, Bundle
from edge_malaria.errors import GateFailed, ModelFileError
from edge_malaria.files import new_directory, write_text
from edge_malaria.records import Image
from edge_malaria.runtime.classify.flagged_views import eight_views

SOURCE, HEADER = "edge_malaria_model.c", "edge_malaria_model.h"
GOLDEN, SELFTEST, MAKEFILE = "edge_malaria_golden.h", "edge_malaria_selftest.c", "Makefile"
DEFAULT_CELLS = 8
_RAW = np.arange(-128, 128)
# Cells that are run in all views by the self-test; each costs eight runs.
_VIEWED_CELLS = 2


@dataclass(frozen=True)
class Firmware:
    """What was written.

    Attributes:
        folder: where.
        identity: whose network.
        flash_bytes: constant data by what it is; code comes on top.
        ram_bytes: static working memory; stack comes on top.
        macs: multiply-accumulates of one inference of the first network.
        golden_cells: how many.
        checks: rounding's name -> ``identical``, or why it was not run.
        layers: (operator, output shape, macs, constant bytes) of each computed step.
    """

    folder: Path
    identity: Identity
    flash_bytes: Mapping[str, int]
    ram_bytes: int
    macs: int
    golden_cells: int
    checks: Mapping[str, str]
    layers: tuple[tuple[str, tuple[int, ...], int, int], ...]

    def as_json(self) -> dict[str, Any]:
        """The document of ``firmware --json``."""
        second = self.identity.second
        return {
            "directory": str(self.folder),
            "model": self.identity.name,
            "version": self.identity.version,
            "sha256": self.identity.sha256,
            "flash_bytes": dict(self.flash_bytes),
            "ram_bytes": self.ram_bytes,
            "macs": self.macs,
            "golden_cells": self.golden_cells,
            "checks": dict(self.checks),
            "thresholds_raw": dict(self.identity.thresholds or {}),
            "asked_again_from_raw": self.identity.asked_again_from,
            "second": None
            if second is None
            else {"sha256": second.sha256, "macs": second.network.macs},
        }


def write_sources(
    model: bytes, out_dir: Path, *, name: str, identity: Identity | None = None
) -> Network:
    """Writes the C source and header of a .tflite file's bytes into ``out_dir``.

    Returns:
        The lowered network.

    Raises:
        ModelFileError: not a .tflite file, or damaged.
        Refused: the kernels cannot run this network.
    """
    network = firmware_network.lower(tflite_graph.parse_graph(model, name), name)
    if identity is None:
        identity = Identity(name, "", hashlib.sha256(model).hexdigest())
    if identity.size_px:
        _expect_classifier(network, identity.size_px, name)
    write_text(out_dir / SOURCE, firmware_emit.source_text(network, identity))
    write_text(out_dir / HEADER, firmware_emit.header_text(network, identity))
    return network


def _expect_classifier(network: Network, size_px: int, name: str) -> None:
    """Pixels in (pixel - 128), one logit out: what ``edge_malaria_classify`` promises."""
    source, result = network.input, network.output
    if source.shape != (1, size_px, size_px, 3) or result.elements != 1:
        raise Refused(
            f"{name}: expected an input [1, {size_px}, {size_px}, 3] and 1 output, got "
            f"{list(source.shape)} and {result.elements}."
        )
    pixel_scale = min(abs(source.scale - 1.0), abs(source.scale - 1 / 255))
    if not (source.zero_point == -128 and pixel_scale < 1e-6):
        raise Refused(
            f"{name}: expected an int8 input of pixel - 128 (zero point -128), got scale "
            f"{source.scale:g} and zero point {source.zero_point}."
        )


def generate_from_bundle(
    bundle: Bundle, out_dir: Path, *, cells: int = DEFAULT_CELLS, force: bool = False
) -> Firmware:
    """The classifier of a bundle as C files in a new directory.

    Args:
        bundle: verified; its int8 .tflite file is used.
        out_dir: created; must not exist unless ``force``.
        cells: golden cells to write along, at least 1.
        force: replace what is there.

    Raises:
        Refused: the bundle has no all-int8 .tflite, or the kernels cannot run it.
        GateFailed: the compiled C file does not give the interpreters' bits.
        OutputExists: ``out_dir`` exists.
    """
    model, file, identity = _described(bundle)
    pixels = _pick_cells(bundle.read("golden/cells.npz"), cells)
    second_model = None if bundle.second is None else _int8_network(bundle.second)[0]
    return _generate(model, out_dir, identity, pixels, file.file, force, second_model)


def write_bundle_sources(bundle: Bundle, out_dir: Path) -> None:
    """The C source and header of a bundle alone, neither compiled nor compared.

    Raises as ``generate_from_bundle`` does.
    """
    model, file, identity = _described(bundle)
    write_sources(model, out_dir, name=file.file, identity=identity)


def _described(bundle: Bundle) -> tuple[bytes, FileSpec, Identity]:
    """A bundle's int8 .tflite file: its bytes, its record, and how the C file decides."""
    spec = bundle.classifier
    model, file, network = _int8_network(bundle)
    thresholds = {point: spec.threshold(point) for point in OPERATING_POINTS}
    decided = decide(spec, thresholds, network)
    if bundle.second is not None:
        _, second_file, asked = _int8_network(bundle.second)
        told = decide_by_second(spec, bundle.second.classifier, thresholds, asked)
        decided["thresholds"] = told.pop("thresholds")
        decided["second"] = Second(asked, second_file.sha256, **told)
    identity = Identity(
        bundle.name,
        bundle.version,
        file.sha256,
        spec.size_px,
        preparation=spec.preparation,
        **decided,
    )
    return model, file, identity


def _int8_network(bundle: Bundle) -> tuple[bytes, FileSpec, Network]:
    """The int8 .tflite file of a bundle's classifier: its bytes, its record, lowered."""
    spec = bundle.classifier
    if "litert" not in spec.variants.get("int8", {}):
        mixed = "int8-mixed" in spec.variants
        advice = "8 bits do not serve all of its layers" if mixed else "Export with --int8"
        raise Refused(
            f"{bundle.path} has {', '.join(spec.variants)} but no int8 .tflite; the C file is "
            f"integer only. {advice}."
        )
    file = spec.file("int8", "litert")
    model = bundle.read(file.file)
    network = firmware_network.lower(tflite_graph.parse_graph(model, file.file), file.file)
    _expect_classifier(network, spec.size_px, file.file)
    return model, file, network


def generate(
    tflite: Path, out_dir: Path, *, cells: int = DEFAULT_CELLS, seed: int = 1, force: bool = False
) -> Firmware:
    """A bare int8 .tflite file as C files; threshold at logit 0, golden inputs of random pixels.

    A network that takes no RGB picture or gives more than one output gets ``edge_malaria_run``
    only. Raises as ``generate_from_bundle`` does.
    """
    try:
        model = tflite.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {tflite}: {error.strerror}.") from error
    network = firmware_network.lower(tflite_graph.parse_graph(model, str(tflite)), str(tflite))
    shape, result = network.input.shape, network.output
    name, sha256 = tflite.stem, hashlib.sha256(model).hexdigest()
    identity = Identity(name, "", sha256)
    if len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3 and result.elements == 1:
        logits = (_RAW - result.zero_point) * np.float64(result.scale)
        permille = np.rint(1000 / (1 + np.exp(-logits))).astype(np.uint16)
        points = dict.fromkeys(OPERATING_POINTS, int(result.zero_point))
        identity = Identity(name, "", sha256, shape[1], points, permille=permille)
    pixels = np.random.default_rng(seed).integers(0, 256, (cells, *shape[1:])).astype(np.uint8)
    return _generate(model, out_dir, identity, pixels, str(tflite), force)


def _pick_cells(packed: bytes, cells: int) -> Image:
    """Golden cells of a bundle, those near the threshold and the others in turn."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
        inputs, near = stored["inputs"], stored["near"].astype(bool)
    groups = np.flatnonzero(near), np.flatnonzero(~near)
    length = min(map(len, groups))
    paired = np.stack([group[:length] for group in groups], axis=1).reshape(-1)
    rest = np.setdiff1d(np.arange(len(inputs)), paired)
    return np.asarray(inputs[np.concatenate([paired, rest])[:cells]], np.uint8)


def _generate(
    model: bytes,
    out_dir: Path,
    identity: Identity,
    pixels: Image,
    name: str,
    force: bool,
    second_model: bytes | None = None,
) -> Firmware:
    with new_directory(out_dir, force=force) as work:
        network = write_sources(model, work, name=name, identity=identity)
        rows = _rows(pixels, network)
        expected = expected_outputs(model, network, rows)
        flat: NDArray[np.uint8] = pixels.reshape(len(pixels), -1)
        sums, of_second = {}, {}
        if identity.second is not None and second_model is not None:
            asked = identity.second.network
            of_second = expected_outputs(second_model, asked, _rows(pixels, asked))
        elif identity.asked_again_from is not None:
            sums = _view_sums(model, network, pixels[:_VIEWED_CELLS])
        write_text(work / GOLDEN, emit_golden.golden_text(flat, expected, sums, of_second))
        write_text(work / SELFTEST, emit_golden.selftest_text())
        write_text(work / MAKEFILE, emit_golden.makefile_text(expected))
        checks = check_on_host(work, expected)
        failed = {k: v for k, v in checks.items() if not (v == "identical" or v[:7] == "not run")}
        if failed:
            said = "; ".join(f"{k}: {v}" for k, v in failed.items())
            raise GateFailed(f"the C file does not give the interpreters' bits for {name}: {said}.")
    return _summary(network, out_dir, identity, len(pixels), checks)


def _rows(pixels: Image, network: Network) -> NDArray[np.int8]:
    return (pixels ^ np.uint8(128)).view(np.int8).reshape(-1, *network.input.shape)


def _view_sums(model: bytes, network: Network, pixels: Image) -> dict[int, NDArray[np.int64]]:
    """Rounding -> the raw outputs of each cell's eight views added up, int64 [N]."""
    views = np.concatenate(list(eight_views(pixels)))
    told = expected_outputs(model, network, _rows(views, network))
    return {
        rounding: raw.astype(np.int64).reshape(-1, len(pixels)).sum(axis=0)
        for rounding, raw in told.items()
    }


def _summary(
    network: Network, folder: Path, identity: Identity, cells: int, checks: Mapping[str, str]
) -> Firmware:
    flash = {"weights": 0, "biases and scales": 0, "tables": 0}
    layers = []
    second = identity.second
    steps = [*network.steps, *(second.network.steps if second is not None else ())]
    for step in steps:
        if step.alias:
            continue
        size = 0
        for array in step.arrays:
            if array.rounding == 1:
                continue
            kind = {"weights": "weights", "constant": "weights"}.get(array.name)
            kind = kind or ("tables" if "table" in array.name else "biases and scales")
            flash[kind] += array.values.nbytes
            size += array.values.nbytes
        layers.append((step.operator, step.shape, step.macs, size))
    if identity.permille is not None:
        flash["tables"] += identity.permille.nbytes
    if second is not None:
        flash["tables"] += second.permille.nbytes
    ram = firmware_emit.arena_bytes(network, identity)
    return Firmware(
        folder, identity, flash, ram, network.macs, cells, checks,
        tuple(layers),
    )  # fmt: skip
