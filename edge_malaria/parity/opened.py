"""What is compared: every file of a bundle, opened once, and whatever the caller adds to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.bundle.golden import Goldens
from edge_malaria.bundle.spec import Bundle, ModelSpec, sha256_hex
from edge_malaria.errors import BundleIntegrityError, MissingExtra, UsageError
from edge_malaria.parity import onnx_file, tflite_file
from edge_malaria.parity.exact import Twins
from edge_malaria.parity.findings import Failure, Findings, Settings, signature_failure
from edge_malaria.parity.memory import Memory, RememberingEngine
from edge_malaria.parity.metadata import read_metadata
from edge_malaria.parity.tflite_file import StoredTensor
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.classify.flagged_views import Logits
from edge_malaria.runtime.classify.second_network import SecondNetwork
from edge_malaria.runtime.engines.base import ENGINES, Engine
from edge_malaria.runtime.engines.opening import installed_engines, open_engine

# Operators of ONNX that quantize activations anew for every batch.
_DYNAMIC_OPERATORS = {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}


@dataclass(frozen=True, eq=False)
class OpenedFile:
    """One model file of the bundle, opened and read.

    Attributes:
        name: what failures call it: ``engine.variant``, or the name of a finder's file.
        variant: under which bundle.json lists it.
        spec: as bundle.json records it.
        engine: with one thread.
        threaded: a number of threads -> the same file on its engine.
        tensors: of the file.
        kind: what the file really is: float32, float16, dynamic, int8, int8-mixed.
        metadata: what the file says of its own decision; None where it says nothing.
    """

    name: str
    variant: str
    spec: FileSpec
    engine: Engine
    threaded: Callable[[int], Engine]
    tensors: tuple[StoredTensor, ...]
    kind: str
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class Subject:
    """A bundle's classifier with all that its stages look at.

    Attributes:
        bundle: read and verified.
        goldens: its stored cells and outputs.
        settings: limits, margin, operating point.
        files: ``engine.variant`` -> the file, opened.
        extra: further candidates of the caller, ``name.variant`` -> engine.
        twins: of the extra candidates: whose bits each must give.
        live: Keras itself, where the caller has it.
        second: name of a candidate, or ``keras`` -> the second network beside it, where the bundle
            has one.
    """

    bundle: Bundle
    goldens: Goldens
    settings: Settings
    files: Mapping[str, OpenedFile]
    extra: Mapping[str, Engine] = field(default_factory=dict)
    twins: Twins = field(default_factory=dict)
    live: Engine | None = None
    second: Mapping[str, Engine] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The classifier in bundle.json."""
        return self.bundle.classifier

    @property
    def decision(self) -> Decision:
        """The decision at the operating point of the settings."""
        return Decision(self.spec, self.spec.threshold(self.settings.operating_point))

    @property
    def candidates(self) -> dict[str, Engine]:
        """Everything that can run the golden cells: the files first, then the caller's."""
        size = self.goldens.cells.inputs.shape[1:]
        files = {name: file.engine for name, file in self.files.items()}
        files = {name: engine for name, engine in files.items() if engine.input.shape == size}
        return {**files, **self.extra}

    def second_of(self, name: str) -> Logits | None:
        """What answers about flagged cells beside a candidate, on the first network's scale."""
        bundle, engine = self.bundle.second, self.second.get(name)
        if bundle is None or engine is None:
            return None
        return SecondNetwork(engine, bundle.classifier, self.spec).logits


def chosen_engines(named: Sequence[str] | None) -> tuple[str, ...]:
    """The named device engines, or those that are installed.

    Raises:
        MissingExtra: a named one is not installed.
        UsageError: a named one is unknown.
    """
    installed = installed_engines()
    if named is None:
        return installed
    for name in named:
        if name not in ENGINES:
            raise UsageError(f"unknown engine {name!r}: expected one of {', '.join(ENGINES)}.")
        if name not in installed:
            what = {"litert": "LiteRT", "onnx": "ONNX Runtime"}[name]
            raise MissingExtra(what, name)
    return tuple(dict.fromkeys(named))


def open_files(
    bundle: Bundle,
    model: ModelSpec,
    engines: Sequence[str],
    *,
    name_all: bool,
    memory: Memory | None = None,
) -> tuple[dict[str, OpenedFile], Findings]:
    """Opens every file of a model that one of ``engines`` runs.

    Args:
        bundle: the model's.
        model: the classifier or the finder of it.
        engines: that may run.
        name_all: list the files of other engines as not run.
        memory: of earlier runs of the gate in this process.

    Returns:
        ``engine.variant`` -> the file, and a failure for each that cannot be opened.
    """
    is_finder = model is bundle.finder
    opened: dict[str, OpenedFile] = {}
    failures, not_run = [], []
    for variant, by_engine in model.variants.items():
        for engine, spec in by_engine.items():
            key = f"{engine}.{variant}"
            name = spec.file if is_finder else key
            if engine not in engines:
                if name_all:
                    not_run.append(f"{name}: the engine {engine} is not installed")
                continue
            try:
                data = bundle.read(spec.file)
                tensors, kind = read_file(data, engine, spec.file)
                says = read_metadata(data, engine, spec.file)
                threaded = _opening(data, engine, memory)
                runner = threaded(1)
            except BundleIntegrityError as error:
                told = ("model file", "not readable", "a file that loads", str(error))
                failures.append(signature_failure(name, *told))
                continue
            opened[key] = OpenedFile(name, variant, spec, runner, threaded, tensors, kind, says)
    return opened, Findings(failures=tuple(failures), not_run=tuple(not_run))


def _opening(data: bytes, engine: str, memory: Memory | None) -> Callable[[int], Engine]:
    """A number of threads -> a file on its engine, which remembers where there is a memory."""
    opening = partial(open_engine, data, engine)
    if memory is None:
        return opening
    sha256, known = sha256_hex(data), memory
    return lambda threads: RememberingEngine(opening, (sha256, engine, threads), known)


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


def against_record(file: OpenedFile, *quantities: str) -> list[Failure]:
    """The file's input and output against bundle.json.

    Args:
        file: opened.
        quantities: of ``name shape dtype scale zero_point``.
    """
    found = []
    for which in ("input", "output"):
        ends = getattr(file.engine, which), getattr(file.spec, which)
        for what in quantities:
            got, wanted = (getattr(end, what) for end in ends)
            same = np.float32(got) == np.float32(wanted) if what == "scale" else got == wanted
            if not same:
                words = what.replace("_", " ")
                cause = f"wrong {words}" if what in ("scale", "zero_point") else ""
                found.append(signature_failure(file.name, f"{which} {words}", got, wanted, cause))
    return found
