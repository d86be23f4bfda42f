"""Stage one: what stands in the files, before a single cell is run.

Names, shapes, dtypes, scale and zero point of input and output against bundle.json and the
contract; then the weights: finite, present, per channel, and of the kind that the variant's name
promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_malaria.bundle.file_spec import FileSpec, TensorSpec
from edge_malaria.bundle.format import Bundle
from edge_malaria.bundle.golden import Goldens
from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity import onnx_file, tflite_file
from edge_malaria.parity.findings import Failure, Settings
from edge_malaria.parity.tflite_file import StoredTensor
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.engines.base import Engine

LABELS = ("uninfected", "parasitized")
# Operators of ONNX that quantize activations anew for every batch.
_DYNAMIC_OPERATORS = {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
# Variants of one network hold the same weights; folding batch norms changes the count by less.
_LEAST_SHARE_OF_WEIGHTS = 0.8


@dataclass(frozen=True, eq=False)
class OpenedFile:
    """One model file of the bundle, opened and read.

    Attributes:
        name: ``engine.variant``.
        spec: as bundle.json records it.
        engine: with one thread.
        tensors: of the file.
        kind: what the file really is: float32, float16, dynamic, int8, int8-mixed.
    """

    name: str
    variant: str
    spec: FileSpec
    engine: Engine
    tensors: tuple[StoredTensor, ...]
    kind: str


def _failure(subject: str, what: str, got: object, expected: object, cause: str = "") -> Failure:
    return Failure("signature", subject, what, str(got), str(expected), "", cause)


def read_file(data: bytes, engine: str, name: str) -> tuple[tuple[StoredTensor, ...], str]:
    """The tensors of a model file, and what kind of quantization they show.

    Raises:
        BundleIntegrityError: damaged.
    """
    if engine == "litert":
        tensors = tflite_file.read_tensors(data, name)
        return tensors, _kind(tensors, tflite_file.produced_dtypes(data))
    tensors = onnx_file.read_tensors(data, name)
    operators = onnx_file.operator_types(data)
    produced = {"int8"} if "QuantizeLinear" in operators else {"float32"}
    if operators & _DYNAMIC_OPERATORS:
        produced = {"float32"}
    return tensors, _kind(tensors, produced)


def _kind(tensors: tuple[StoredTensor, ...], produced: set[str]) -> str:
    kernels = {tensor.dtype for tensor in tensors if tensor.is_kernel}
    if "float16" in {tensor.dtype for tensor in tensors}:
        return "float16"
    if not kernels & {"int8", "uint8"}:
        return "float32"
    if "float32" not in produced and "float32" not in kernels:
        return "int8"
    return "int8-mixed" if "int8" in produced else "dynamic"


def check_tensor(subject: str, which: str, got: TensorSpec, recorded: TensorSpec) -> list[Failure]:
    """The file's input or output against its record in bundle.json."""
    found = []
    for what in ("name", "shape", "dtype", "scale", "zero_point"):
        value, wanted = getattr(got, what), getattr(recorded, what)
        same = bool(np.float32(value) == np.float32(wanted)) if what == "scale" else value == wanted
        if not same:
            words = what.replace("_", " ")
            cause = f"wrong {words}" if what in ("scale", "zero_point") else ""
            found.append(_failure(subject, f"{which} {words}", value, wanted, cause))
    return found


def check_contract(file: OpenedFile, size_px: int) -> list[Failure]:
    """Input and output against what every bundle promises, whatever the record says."""
    found = []
    got, out = file.engine.input, file.engine.output
    wanted = (size_px, size_px, 3)
    if got.shape != wanted:
        found.append(_failure(file.name, "input shape", got.shape, wanted))
    if int(np.prod(out.shape)) != 1:
        found.append(_failure(file.name, "output values a cell", out.shape, "one logit"))
    integer = file.variant == "int8"
    for which, spec in (("input", got), ("output", out)):
        if integer and spec.dtype != "int8":
            cause = f"the file is {file.kind}, not int8"
            found.append(_failure(file.name, f"{which} dtype", spec.dtype, "int8", cause))
        if not integer and file.variant != "int8-mixed" and spec.dtype != "float32":
            found.append(_failure(file.name, f"{which} dtype", spec.dtype, "float32"))
    if got.dtype == "int8" and got.zero_point != -128:
        cause = "wrong zero point: int8 input is pixel - 128"
        found.append(_failure(file.name, "input zero point", got.zero_point, -128, cause))
    if got.dtype == "int8" and not abs(got.scale - 1.0) < 1e-6:
        cause = "wrong scale: int8 input is pixel - 128, 1/255 lies inside the network"
        found.append(_failure(file.name, "input scale", got.scale, 1.0, cause))
    if out.dtype == "int8" and not (np.isfinite(out.scale) and out.scale > 0):
        found.append(_failure(file.name, "output scale", out.scale, "> 0", "wrong scale"))
    return found


def check_weights(file: OpenedFile) -> list[Failure]:
    """Finite, present, per channel, and what the variant's name promises."""
    found = []
    if file.kind != file.variant:
        cause = f"the file is {file.kind} under the name of {file.variant}"
        found.append(_failure(file.name, "quantization", file.kind, file.variant, cause))
    if file.spec.quantization != file.variant:
        got = file.spec.quantization
        found.append(_failure(file.name, "quantization in bundle.json", got, file.variant))
    for tensor in file.tensors:
        found += _tensor_failures(file, tensor)
    return found


def _tensor_failures(file: OpenedFile, tensor: StoredTensor) -> list[Failure]:
    values, found = tensor.values, []
    if values is not None and values.dtype.kind == "f":
        bad = int(np.count_nonzero(~np.isfinite(values.astype(np.float32))))
        if bad:
            got, cause = f"{bad} NaN or infinite", f"NaN weight in {tensor.name!r}"
            found.append(_failure(file.name, "weights", got, "finite numbers", cause))
    if tensor.scales.size and not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
        cause = f"wrong scale in {tensor.name!r}"
        found.append(_failure(file.name, "weight scales", "not all above 0", "above 0", cause))
    if not tensor.is_kernel or values is None:
        return found
    if not values.any():
        cause = f"the weights of {tensor.name!r} are all zero"
        found.append(_failure(file.name, "weights that are not zero", 0, values.size, cause))
    channels = max(tensor.shape[0], tensor.shape[-1]) if len(tensor.shape) == 4 else 1
    if file.variant in ("int8", "int8-mixed") and tensor.dtype == "int8":
        if tensor.scales.size == 1 and channels > 1:
            cause = f"one scale for all of {tensor.name!r}: per-tensor instead of per-channel"
            found.append(_failure(file.name, "weight scales", 1, "one a channel", cause))
        elif np.unique(tensor.scales).size == 1 < tensor.scales.size and not _full(tensor):
            cause = f"the same scale for every channel of {tensor.name!r}: a per-tensor collapse"
            got = f"{tensor.scales.size} equal scales"
            found.append(_failure(file.name, "weight scales", got, "one a channel", cause))
    return found


def _full(tensor: StoredTensor) -> bool:
    """Whether every channel uses its whole scale: then equal scales are honest.

    A scaling by one factor for all channels has them; a per-tensor collapse leaves all channels
    but the largest short of 127.
    """
    values, count = tensor.values, tensor.scales.size
    if values is None:
        return False
    for axis in (values.ndim - 1, 0):
        if values.shape[axis] == count:
            rows = np.abs(np.moveaxis(values, axis, 0).reshape(count, -1).astype(np.int16))
            if bool((rows.max(axis=1) == 127).all()):
                return True
    return False


def check_weight_counts(files: Mapping[str, OpenedFile]) -> list[Failure]:
    """Every variant holds about as many weights as the others."""
    counts = {
        name: sum(int(np.prod(t.shape)) for t in file.tensors if t.is_kernel)
        for name, file in files.items()
    }
    most = max(counts.values(), default=0)
    cause = "weights lost in conversion"
    return [
        _failure(name, "weights stored", count, f"about {most} as in the other files", cause)
        for name, count in counts.items()
        if not (count >= _LEAST_SHARE_OF_WEIGHTS * most and count > 0)
    ]


def check_same_scales(files: Mapping[str, OpenedFile]) -> list[Failure]:
    """The int8 files of all engines carry the same input and output quantization."""
    found = []
    for variant in ("int8", "int8-mixed"):
        group = [file for file in files.values() if file.variant == variant]
        for file in group[1:]:
            for which in ("input", "output"):
                first, other = getattr(group[0].engine, which), getattr(file.engine, which)
                got = (float(np.float32(other.scale)), other.zero_point)
                wanted = (float(np.float32(first.scale)), first.zero_point)
                if got != wanted:
                    what = f"{which} scale and zero point"
                    cause = "wrong scale" if got[0] != wanted[0] else "wrong zero point"
                    against = f"{wanted} as in {group[0].name}"
                    found.append(_failure(file.name, what, got, against, cause))
    return found


def check_decision(bundle: Bundle, goldens: Goldens, settings: Settings) -> list[Failure]:
    """Labels and threshold of bundle.json against the contract and the goldens."""
    spec, found = bundle.classifier, []
    if tuple(spec.labels) != LABELS:
        cause = "labels swapped"
        found.append(_failure("bundle.json", "labels", tuple(spec.labels), LABELS, cause))
    decision = Decision(spec, spec.threshold(settings.operating_point))
    stored = goldens.cells.threshold_logit
    at_stored = float(decision.probabilities(np.array([stored], np.float32))[0])
    balanced = spec.threshold("balanced")
    if not (abs(at_stored - balanced) <= 1e-3):
        cause = "the threshold of another variant or model"
        found.append(
            _failure(
                "bundle.json",
                "threshold of balanced, as a probability",
                f"{balanced:.4f}",
                f"{at_stored:.4f}, which the goldens were drawn for",
                cause,
            )
        )
    return found


def recorded_failures(file: OpenedFile) -> list[Failure]:
    """The file's ends against bundle.json."""
    return [
        *check_tensor(file.name, "input", file.engine.input, file.spec.input),
        *check_tensor(file.name, "output", file.engine.output, file.spec.output),
    ]


def damaged(name: str, error: BundleIntegrityError) -> Failure:
    """A file that cannot be opened, as a failure among the others."""
    return _failure(name, "model file", "not readable", "a file that loads", str(error))
