"""The tables of docs/PERFORMANCE.md: what a cell, a field and a slide cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from benchmarks.documents.markdown import evidence, figure, table
from benchmarks.speed.pi_times import estimates

WORK = (
    ("one field of 5 megapixels, JPEG to journal", "field"),
    ("decoding that JPEG alone", "jpeg"),
    ("what `screen` of two such fields does beside them", "slide"),
    ("one cell, in a batch of 64", "cell"),
    ("the start of `edge-malaria`", "start"),
)


def _known(name: str) -> dict[str, object]:
    document = evidence(name)
    if document is None:
        raise KeyError(f"docs/evidence/{name}.json")
    return document


def instructions() -> str:
    """Instructions on x86-64 and on the Pi's processors."""
    arm = _known("arm_instructions")["counts"]
    assert isinstance(arm, dict)
    rows = []
    for words, key in WORK:
        here = f"{float(figure('instructions', f'counts.{key}', 'f')) / 1e6:,.1f}"
        there = [f"{count[key] / 1e6:,.1f}" if key in count else "-" for count in arm.values()]
        rows.append((words, here, *there))
    return table(("million instructions", "x86-64 (AVX2)", *arm), rows)


def pi_times() -> str:
    """Estimated times on boards that were not at hand."""
    rows = [
        (
            board.name,
            f"{board.processor}, {board.clock_mhz / 1e3:.1f} GHz",
            f"[{board.mips:,}](https://{board.source})",
            f"{field_s:.1f} s",
            f"{1e3 * cell_s:.1f} ms",
        )
        for board, field_s, cell_s in estimates()
    ]
    columns = ("board", "cores", "published MIPS, 4 cores", "a field, one core", "a cell")
    return table(columns, rows)


def networks() -> str:
    """Processor time of networks on one machine, and against the default."""
    measured = _known("latency_models")["networks_by_processor"]
    assert isinstance(measured, dict)
    rows = []
    for name, row in measured["avx2"].items():
        arch, _, runs_as = name.partition(" ")
        shown = "`default`, first network" if arch == "compact" else f"`{arch}`"
        us, times = row["us_per_cell_median_processor"], row["times_compact_median_processor"]
        rows.append((shown, runs_as, f"{us:,.0f}", f"{times:.2f}"))
    return table(("network", "runs as", "µs a cell", "times the first line's"), rows)


def stages() -> str:
    """Milliseconds of a field's stages."""
    stages_ms = _known("latency_field")["stages_ms"]
    assert isinstance(stages_ms, dict)
    rows = [(name.replace("_", " "), f"{value:.1f}") for name, value in stages_ms.items()]
    rows.append(("**whole path**", figure("latency_field", "whole_path_ms", ".1f")))
    return table(("stage", "ms"), rows)


def memory() -> str:
    """Peak memory of long slides."""
    count = figure("memory_fields", "fields", "d")
    rows = [
        ("50 fields", figure("memory_fields", "peak_mib_after_50", ".0f")),
        (f"{count} fields", figure("memory_fields", "peak_mib_after_all", ".0f")),
        (f"{count} fields and the report", figure("memory_fields", "peak_mib_with_report", ".0f")),
    ]
    return table(("after", "peak memory, MiB"), rows)


def growth() -> str:
    """What one more field or cell costs, and a batch on more workers."""
    document = _known("growth")
    rows: list[tuple[str, str, str]] = []
    for key, unit in (("fields", "field"), ("cells", "cell")):
        points = document[key]
        assert isinstance(points, list)
        for low, high in pairwise(points):
            more = (high["instructions"] - low["instructions"]) / (high[key] - low[key])
            rows.append((f"{low[key]:g} to {high[key]:g} {key}", f"one more {unit}",
                         f"{more / 1e6:,.1f} million instructions"))  # fmt: skip
    workers = document["workers"]
    assert isinstance(workers, list)
    for row in workers:
        words = f"{row['slides']} small slides, {row['workers']} worker{'s' * (row['workers'] > 1)}"
        rows.append((words, "all of them", f"{row['processor_s']:.0f} processor seconds"))
    return table(("from", "cost of", "measured"), rows)


def field_peers() -> str:
    """F1 of the finder and of a watershed, and how many times ours the watershed takes."""
    sets = _known("field_peers")["sets"]
    assert isinstance(sets, dict)
    rows = [
        (name, f"{row['fields']}", f"{row['finder']['f1']:.3f}", f"{row['watershed']['f1']:.3f}",
         f"{row['times_ours']:.1f}")
        for name, row in sets.items()
    ]  # fmt: skip
    columns = ("set, report third", "fields", "F1, finder", "F1, watershed", "its time over ours")
    return table(columns, rows)


TABLES: dict[str, Callable[[], str]] = {
    "performance-instructions": instructions,
    "performance-pi": pi_times,
    "performance-networks": networks,
    "performance-stages": stages,
    "performance-peers": field_peers,
    "performance-memory": memory,
    "performance-growth": growth,
}
