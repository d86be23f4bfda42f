"""Which cell finder a bundle uses."""

from __future__ import annotations

from edge_malaria.bundle.spec import Bundle
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.learned import LearnedFinder
from edge_malaria.runtime.engines.opening import default_engine, open_engine


def default_finder(
    bundle: Bundle | None,
    variant: str = "int8",
    engine: str | None = None,
    threads: int = 1,
) -> CellFinder:
    """The finder that measured best per millisecond among those that ``bundle`` allows.

    Args:
        bundle: its learned finder is used where it has one, else the classical finder.
        variant: of the finder's model.
        engine: ``litert`` or ``onnx``; by default litert if installed, else onnx.
        threads: the engine's threads.

    Raises:
        UsageError: the bundle's finder has no such variant for this engine.
        MissingExtra: no engine is installed.
    """
    if bundle is None or bundle.finder is None:
        return ClassicalFinder()
    name = engine or default_engine()
    file = bundle.finder.file(variant, name)
    return LearnedFinder(open_engine(bundle.read(file.file), name, threads))


def finder_variant(bundle: Bundle, variant: str, engine: str) -> str:
    """The finder's variant that goes with the classifier's ``variant``; "" without a finder.

    A finder may come in fewer variants than the classifier: then the one of the same kind of
    numbers, int8 or float32, is named, and the caller says so.
    """
    if bundle.finder is None:
        return ""
    if engine in bundle.finder.variants.get(variant, {}):
        return variant
    return "float32" if variant in ("float16", "float32") else "int8"
