"""A bundle in the making: which files it has, and how the files of one variant are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from converters import metadata, to_onnx, to_tflite
from converters.calibration import Calibration
from converters.freed_memory import give_back
from edge_malaria import __version__
from edge_malaria.bundle import golden, golden_draw, golden_write
from edge_malaria.bundle.file_spec import ENGINE_FORMATS, FileSpec
from edge_malaria.bundle.spec import sha256_hex
from edge_malaria.errors import UsageError
from edge_malaria.export.effort import Effort
from edge_malaria.export.source import Source
from edge_malaria.files import write_bytes
from edge_malaria.parity.memory import Memory, RememberingEngine
from edge_malaria.records import RESEARCH_USE
from edge_malaria.runtime.engines.opening import installed_engines, open_engine

Log = Callable[[str], None]
ONNX_VARIANTS = ("float32", "int8", "int8-mixed")


@dataclass(frozen=True)
class Options:
    """What to export.

    Attributes:
        variants: of ``float32 float16 dynamic int8``.
        formats: of ``tflite onnx``.
        force: replace an existing bundle.
        finder: include the cell finder where the model ships with one.
        delta: the gate's non-inferiority margin of sensitivity and specificity, a fraction.
        fine_tune: where int8 fails, the last fallback may train with rounding (minutes to hours).
    """

    variants: tuple[str, ...] = ("float32", "int8")
    formats: tuple[str, ...] = ("tflite", "onnx")
    force: bool = False
    finder: bool = True
    fine_tune: bool = True
    delta: float = 0.01

    def __post_init__(self) -> None:
        unknown = set(self.formats) - set(ENGINE_FORMATS.values())
        if unknown or not self.formats:
            raise UsageError(
                f"unknown format {', '.join(sorted(unknown)) or '(none)'}: expected tflite, onnx."
            )


@dataclass(eq=False)
class Work:
    """A bundle in the making.

    Attributes:
        directory: temporary; renamed when everything passed.
        source, options, log, effort, calibration: of the export.
        patients_unknown: whether calibration and val cells may be of the same patients.
        delta: the gate's margin: that of the options, or the smallest that so few cells can show.
        files: variant -> its files.
        recipe: where the int8 ranges come from.
        finder: the finder's object in bundle.json.
        tflite: variant -> TFLite bytes as converted; float32 only where no file holds it.
        memory: what the files gave; the gate does not ask them again.
    """

    directory: Path
    source: Source
    options: Options
    log: Log
    effort: Effort
    calibration: Calibration | None
    patients_unknown: bool = False
    delta: float = 0.01
    files: dict[str, list[FileSpec]] = field(default_factory=dict)
    recipe: str = ""
    finder: dict[str, Any] | None = None
    tflite: dict[str, bytes] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    def first_formats(self, variant: str) -> Sequence[str]:
        """The formats of a variant that go through the gate first.

        Eight bits often fail a large network, and its files take minutes to run. All of them carry
        the same weights and steps: where the first one fails, nothing is spent on the next.
        """
        large = self.effort.golden < golden_draw.CELLS
        return self.options.formats[:1] if large and variant == "int8" else self.options.formats

    @property
    def float32(self) -> bytes:
        """The float32 TFLite network."""
        kept = self.tflite.get("float32")
        return kept or (self.directory / "model.float32.tflite").read_bytes()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The formats of int8 that are not written yet."""
        if "int8" not in self.files:
            return ()
        there = {ENGINE_FORMATS[spec.engine] for spec in self.files["int8"]}
        return tuple(f for f in dict.fromkeys(self.options.formats) if f not in there)


@dataclass(frozen=True, eq=False)
class Network:
    """A network on its way into a bundle: the classifier or the finder.

    Attributes:
        stem: of its file names: ``model`` or ``finder``.
        keras: the float model.
        facts: what each of its files says of itself, beside variant and quantization.
    """

    stem: str
    keras: Any
    facts: Mapping[str, Any]


def write_variant(
    directory: Path, network: Network, variant: str, data: bytes, formats: Sequence[str]
) -> list[FileSpec]:
    """Writes one variant of a network in every format asked for, from its TFLite bytes.

    Returns:
        The files as bundle.json records them; each was opened by the engine that runs it.
    """
    facts = {
        **network.facts,
        "variant": variant,
        "quantization": to_tflite.quantization_of(data),
    }
    stem, words = f"{network.stem}.{variant}", facts["quantization"]
    specs = []
    # Each is written before the next is made: two of a large network need not lie in memory.
    if "tflite" in formats:
        made = metadata.into_tflite(data, facts)
        specs.append(_write(directory, stem, "litert", made, words))
        del made
    if "onnx" in formats and variant in ONNX_VARIANTS:
        tensors = None
        if variant == "float32":
            graph = to_onnx.from_keras(network.keras)
        else:
            graph = to_onnx.from_tflite(data)
            opened = open_engine(data, "litert")
            tensors = {"input": opened.input, "output": opened.output}
        made = metadata.into_onnx(graph, facts, tensors)
        specs.append(_write(directory, stem, "onnx", made, words))
    return specs


def _write(directory: Path, stem: str, engine: str, data: bytes, quantization: str) -> FileSpec:
    name = f"{stem}.{ENGINE_FORMATS[engine]}"
    write_bytes(directory / name, data)
    opened = open_engine(data, engine)
    return FileSpec(
        engine, name, len(data), sha256_hex(data), quantization, opened.input, opened.output
    )


def log_variant(
    log: Log, step: str, variant: str, specs: Sequence[FileSpec], started: float
) -> None:
    """One line: which files of a variant were written, how large, how long it took."""
    sizes = ", ".join(f"{spec.file} {spec.bytes / 1000:.1f} kB" for spec in specs)
    log(f"{step:10}{variant}: {sizes}, {took(started)}")


def add_files(
    work: Work,
    cells: golden.GoldenCells,
    variant: str,
    data: bytes,
    started: float,
    formats: Sequence[str] | None = None,
) -> None:
    """Writes files of one variant, from its TFLite bytes, and their golden outputs.

    ``formats``: to write now, beside those that are there; None writes all of the export.
    """
    # What converters freed lies in heaps full of holes: of ResNet50 some hundred megabytes.
    give_back()
    chosen = work.options.formats if formats is None else formats
    if variant != "float32" or "tflite" not in chosen:
        work.tflite[variant] = data
    network = Network("model", work.source.plain, _facts(work.source))
    specs = write_variant(work.directory, network, variant, data, chosen)
    work.files[variant] = [*work.files.get(variant, ()), *specs]
    for spec in specs:
        if spec.engine in installed_engines():
            opening = partial(open_engine, work.directory / spec.file, spec.engine)
            engine = RememberingEngine(opening, (spec.sha256, spec.engine, 1), work.memory)
            golden_write.write_engine_goldens(work.directory, cells, engine, variant, spec.sha256)
    work.memory.close()
    give_back()
    log_variant(work.log, "convert", variant, specs, started)


def _facts(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "edge_malaria_version": __version__,
        "labels": ["uninfected", "parasitized"],
        "preprocessing": source.preprocessing,
        "decision": {
            key: source.decision[key]
            for key in ("temperature", "bias", "operating_points", "flagged_views", "second")
            if key in source.decision
        },
        "notice": RESEARCH_USE,
    }


def drop_variant(work: Work, variant: str) -> None:
    """Removes the files and goldens of a variant that did not pass."""
    for spec in work.files.pop(variant, []):
        (work.directory / spec.file).unlink()
        stored = work.directory / golden.FOLDER / f"{spec.engine}.{variant}.npz"
        stored.unlink(missing_ok=True)


def took(started: float) -> str:
    """Seconds since ``started``, for a log line."""
    return f"{time.monotonic() - started:.1f} s"
