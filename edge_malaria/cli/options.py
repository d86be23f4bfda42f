"""Options that several commands share, and opening what they name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_malaria.bundle.spec import Bundle


class EngineName(StrEnum):
    """Engines of the device."""

    litert = "litert"
    onnx = "onnx"
    auto = "auto"


class Variant(StrEnum):
    """Variants of a bundle."""

    float32 = "float32"
    float16 = "float16"
    dynamic = "dynamic"
    int8 = "int8"
    int8_mixed = "int8-mixed"


class MaskMode(StrEnum):
    """How an unmasked crop is treated."""

    none = "none"
    auto = "auto"


class OperatingPoint(StrEnum):
    """Which threshold decides."""

    balanced = "balanced"
    screening = "screening"


class Language(StrEnum):
    """Languages of a report."""

    english = "en"
    french = "fr"
    bengali = "bn"
    swahili = "sw"
    portuguese = "pt"


class Split(StrEnum):
    """Splits of a data set."""

    train = "train"
    val = "val"
    test = "test"
    all = "all"


ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML with limits that differ.")
]
LanguageOption = Annotated[
    Language | None, typer.Option("--language", help="Of the report's page. [en]")
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        help="Bundle to use; `active`: the installed one. Default: the shipped one.",
    ),
]
VariantOption = Annotated[Variant, typer.Option("--variant", help="Which file of the bundle runs.")]
EngineOption = Annotated[
    EngineName | None,
    typer.Option(
        "--engine",
        help="Default: litert if installed, else onnx; auto: what `benchmark` measured as fastest "
        "on this board. Never switched silently.",
    ),
]
MaskOption = Annotated[
    MaskMode,
    typer.Option("--mask", help="auto isolates the central cell of a crop that shows neighbours."),
]
PointOption = Annotated[
    OperatingPoint, typer.Option("--operating-point", help="Which threshold decides.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
# No board of this kind has more; an engine told to start 100,000 never gets to its first cell.
MOST_THREADS = 64
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=1, max=MOST_THREADS, help="Threads of the engine.")
]


def open_named(bundle: Path | None) -> Bundle:
    """The bundle at ``bundle``, or the shipped one.

    A path that is no file or folder but a shipped model's name (default, micro) means that model;
    ``active`` means the bundle that ``bundle activate`` chose on this device.
    """
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.bundle.shipped import shipped_bundle

    if bundle is None:
        return read_bundle(shipped_bundle())
    if str(bundle) == "active" and not bundle.exists():
        from edge_malaria.bundle.install import BundleStore, default_store

        return BundleStore(default_store()).active()
    named = shipped_bundle(str(bundle))
    if not bundle.exists() and bundle.name == str(bundle) and named.is_dir():
        return read_bundle(named)
    return read_bundle(bundle)


def engine_for(bundle: Bundle, variant: Variant, engine: EngineName | None) -> str | None:
    """The engine that ``--engine`` means for a bundle; None for the default one.

    Raises:
        UsageError: ``auto``, and this board was not measured with this file.
    """
    if engine is not EngineName.auto:
        return engine and engine.value
    from edge_malaria.benchmark.chosen import fastest_engine
    from edge_malaria.benchmark.machine import this_machine
    from edge_malaria.cli.output import log

    chosen = fastest_engine(bundle, variant.value, this_machine())
    log(f"engine: {chosen}, the fastest for {variant.value} on this board")
    return chosen


def new_output(output: Path | None, force: bool) -> None:
    """Refuses an output that exists without ``force``: asked before any work, not after.

    Raises:
        OutputExists: see above.
    """
    from edge_malaria.errors import OutputExists

    if output is not None and output.exists() and not force:
        raise OutputExists(f"{output} exists. Choose another name or add --force.")


def new_keras_file(output: Path, force: bool) -> None:
    """Refuses a name that is no .keras file, and one that exists without ``force``.

    Raises:
        UsageError, OutputExists: see above.
    """
    from edge_malaria.errors import UsageError

    if output.suffix != ".keras":
        raise UsageError(f"-o {output}: expected a name that ends in .keras.")
    new_output(output, force)
