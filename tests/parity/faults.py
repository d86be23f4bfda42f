"""Plants faults in a bundle's files from outside, and re-records the bundle as an export would.

Nothing here reaches into the gate: files are rewritten on disk. Hashes, sizes, tensor records and
the engines' golden outputs are then taken from the faulty files, as if the fault had happened
during conversion, so that neither a hash nor a stale golden is what catches it.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle import golden, golden_write
from edge_malaria.bundle.format import INDEX, read_bundle, write_index
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.bundle.spec import sha256_hex
from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity import Beside, ParityReport, gate
from edge_malaria.parity.tflite_file import StoredTensor, Table, read_tensors
from edge_malaria.runtime.engines.opening import open_engine

FLOAT, INT8 = "model.float32.tflite", "model.int8.tflite"

Plant = Callable[[Path], None]


@dataclass(frozen=True)
class Fault:
    """A fault, and words that one of the gate's messages must hold.

    ``of`` is the shipped bundle that it is planted in: ``micro`` goes through the same gate in a
    third of the time.
    """

    name: str
    plant: Plant
    words: tuple[str, ...]
    of: str = "micro"


def messages(report: ParityReport) -> list[str]:
    """Every failure's line."""
    return [failure.message for failure in report.all_failures()]


def assert_refused(fault: Fault, folder: Path, honest: Path | None = None) -> None:
    """Plants ``fault`` in a copy of a bundle, its own by default; the gate must name it.

    A shipped bundle's faults lie in its first network, so its second one is not compared again.
    """
    bundle = copy_bundle(honest or SHIPPED_MODELS / fault.of, folder)
    fault.plant(bundle)
    report = gate(bundle, finder=False, second=Beside(prove=honest is not None))
    assert not report.passed
    found = messages(report)
    assert any(all(word in message for word in fault.words) for message in found), "\n".join(found)


def copy_bundle(source: Path, target: Path) -> Path:
    """A writable copy."""
    shutil.copytree(source, target)
    return target


def record_of(bundle: Path) -> dict[str, Any]:
    """bundle.json."""
    return dict(json.loads((bundle / INDEX).read_text()))


def rehash(bundle: Path, record: dict[str, Any] | None = None) -> None:
    """Records files as they are now: hashes and sizes only."""
    record = record or record_of(bundle)
    for entries in record["models"]["classifier"]["variants"].values():
        for entry in entries:
            data = (bundle / entry["file"]).read_bytes()
            entry["bytes"], entry["sha256"] = len(data), sha256_hex(data)
    write_index(bundle, record)


def record_again(bundle: Path) -> None:
    """Records files as an export that made this fault would have done.

    Hashes, sizes, input and output tensors, and what each engine gives on the golden cells.
    """
    record = record_of(bundle)
    cells = golden.read_goldens(read_bundle_unchecked(bundle)).cells
    for variant, entries in record["models"]["classifier"]["variants"].items():
        for entry in entries:
            data = (bundle / entry["file"]).read_bytes()
            if entry["sha256"] == sha256_hex(data):
                continue
            entry["bytes"], entry["sha256"] = len(data), sha256_hex(data)
            try:
                engine = open_engine(data, entry["engine"])
                entry["input"], entry["output"] = engine.input.as_json(), engine.output.as_json()
                golden_write.write_engine_goldens(bundle, cells, engine, variant, entry["sha256"])
            except (BundleIntegrityError, RuntimeError):
                continue  # a file that does not even run keeps its old record
    write_index(bundle, record)
    read_bundle(bundle)  # the integrity check itself is satisfied


def read_bundle_unchecked(bundle: Path) -> dict[str, bytes]:
    """Every file's bytes, whatever bundle.json says of them."""
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        for path in sorted(bundle.rglob("*"))
        if path.is_file()
    }


def edit_tflite(path: Path, edit: Callable[[list[StoredTensor]], None]) -> None:
    """Lets ``edit`` change the tensors' values, scales and zero points in place."""
    data = bytearray(path.read_bytes())
    # Views on a bytearray are writable: the reader's arrays are the file's own bytes.
    edit(list(read_tensors(data)))  # type: ignore[arg-type]
    path.write_bytes(bytes(data))


def edit_onnx(path: Path, edit: Callable[[dict[str, NDArray[Any]]], None]) -> None:
    """Lets ``edit`` change the initializers by name."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_model_from_string(path.read_bytes())
    values = {one.name: numpy_helper.to_array(one).copy() for one in proto.graph.initializer}
    edit(values)
    for one in proto.graph.initializer:
        one.CopyFrom(numpy_helper.from_array(values[one.name], one.name))
    path.write_bytes(proto.SerializeToString())


def kernels(tensors: list[StoredTensor]) -> list[StoredTensor]:
    """Weights of convolutions, in the file's order; depthwise ones are [1, h, w, c]."""
    return [tensor for tensor in tensors if tensor.is_kernel and len(tensor.shape) == 4]


def first_kernel(tensors: list[StoredTensor]) -> StoredTensor:
    """The kernel that sees the pixels: the one with three input channels."""
    return next(t for t in kernels(tensors) if t.shape[-1] == 3 and t.shape[0] > 1)


def last_kernel(tensors: list[StoredTensor]) -> StoredTensor:
    """The weights that give the logit."""
    return next(t for t in tensors if t.is_kernel and len(t.shape) == 2 and t.shape[0] == 1)


def values_of(tensor: StoredTensor) -> NDArray[Any]:
    """The constant's values, writable."""
    assert tensor.values is not None
    return tensor.values


def bias_of(tensors: list[StoredTensor], kernel: StoredTensor) -> StoredTensor:
    """The bias that belongs to a kernel: an int32 constant with its scales times the input's."""
    scales = np.asarray(kernel.scales, np.float64)
    for tensor in tensors:
        is_bias = tensor.dtype == "int32" and tensor.values is not None
        if is_bias and tensor.scales.size == scales.size > 0:
            ratio = tensor.scales.astype(np.float64) / scales
            if np.allclose(ratio, ratio[0], rtol=1e-5):
                return tensor
    raise AssertionError("expected a bias, got none")


def rescale(tensors: list[StoredTensor], kernel: StoredTensor, factor: float) -> None:
    """Multiplies a kernel by ``factor``; its bias keeps its real value."""
    if kernel.dtype == "float32":
        values_of(kernel)[...] *= np.float32(factor)
        return
    bias = bias_of(tensors, kernel)
    wide = np.rint(values_of(bias).astype(np.float64) / factor)
    values_of(bias)[...] = np.clip(wide, -(2**31), 2**31 - 1).astype(np.int32)
    _multiply_scales(kernel, bias, np.float32(factor))


def _multiply_scales(kernel: StoredTensor, bias: StoredTensor, factor: Any) -> None:
    # Equal vectors may be stored once: behind an input of scale 1 a bias has its kernel's scales.
    if not np.shares_memory(kernel.scales, bias.scales):
        bias.scales[...] *= factor
    kernel.scales[...] *= factor


def shift_logit(path: Path, steps: int) -> None:
    """Adds ``steps`` output steps to every logit of an int8 .tflite file, through its last bias."""

    def edit(tensors: list[StoredTensor]) -> None:
        out = next(
            t for t in tensors if t.values is None and t.dtype == "int8" and t.shape == (1, 1)
        )
        bias = bias_of(tensors, last_kernel(tensors))
        values_of(bias)[...] += np.int32(round(steps * float(out.scales[0] / bias.scales[0])))

    edit_tflite(path, edit)


def per_tensor(tensors: list[StoredTensor], kernel: StoredTensor) -> None:
    """Rounds a kernel to one scale for all channels, as per-tensor quantization does."""
    axis = 0 if kernel.shape[0] == kernel.scales.size else len(kernel.shape) - 1
    shape = [1] * len(kernel.shape)
    shape[axis] = kernel.scales.size
    bias = bias_of(tensors, kernel)
    old = kernel.scales.copy()
    one = np.float32(old.max())
    real = values_of(kernel).astype(np.float64) * old.reshape(shape)
    values_of(kernel)[...] = np.clip(np.rint(real / one), -127, 127).astype(np.int8)
    values_of(bias)[...] = np.rint(values_of(bias) * (old / one).astype(np.float64))
    _multiply_scales(kernel, bias, one / old)
    kernel.scales[...] = one


def lose_weights(path: Path) -> None:
    """Points every kernel of a .tflite file at its empty buffer: what lost weights look like."""
    data = bytearray(path.read_bytes())
    root = Table(data, int(struct.unpack_from("<I", data, 0)[0]))  # type: ignore[arg-type]
    for table, tensor in zip(root.tables(2)[0].tables(0), read_tensors(bytes(data)), strict=True):
        if tensor.is_kernel:
            struct.pack_into("<I", data, table.offset(2), 0)
    path.write_bytes(bytes(data))


def restamp(bundle: Path) -> None:
    """Makes every golden output belong to the cells as they are now."""
    sha256 = golden.read_goldens(read_bundle_unchecked(bundle)).cells.sha256
    for path in (bundle / "golden").glob("*.npz"):
        with np.load(path) as stored:
            values = dict(stored)
        if "cells_sha256" in values:
            np.savez(path, **{**values, "cells_sha256": np.array(sha256)})
    rehash(bundle)
