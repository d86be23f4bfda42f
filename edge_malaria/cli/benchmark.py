"""``edge-malaria benchmark BUNDLE [--against MODEL...]``"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_malaria.cli.options import JsonOption, open_named
from edge_malaria.cli.output import log, print_json, print_table, progress, warn

if TYPE_CHECKING:
    from edge_malaria.benchmark.contestants import Contestant, NotRun
    from edge_malaria.benchmark.field_path import FieldCost, Growth
    from edge_malaria.benchmark.field_peers import PeerCost
    from edge_malaria.benchmark.machine import Machine
    from edge_malaria.benchmark.networks import Networks
    from edge_malaria.bundle.spec import Bundle

# Of the source's fields so many are shown to others.
_PEERS_FIELDS = 2

_HELP = """Times every variant of a bundle on every installed engine, in turn, on this very board.

Beside the times: work, bytes, memory, start, and the share of what this machine's arithmetic units
give at best. Ratios are taken within a round, so they hold on a busy machine too.
"""


def register(app: typer.Typer) -> None:
    """Adds ``benchmark`` to the app."""
    app.command("benchmark", help=_HELP)(benchmark)


def benchmark(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle, or a shipped model's name. Default: default.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Also runs in each round: a bundle, a .tflite, .onnx or .keras file, or an "
            "architecture of this project (sequential3, mobilenetv2 ...). May be repeated."
        ),
    ] = None,
    threads: Annotated[
        str, typer.Option(help="Threads to measure with, comma-separated. Default: 1 and all.")
    ] = "",
    batch: Annotated[str, typer.Option(help="Cells a run, comma-separated.")] = "1,16,64",
    rounds: Annotated[int, typer.Option(min=3, help="Rounds in which everybody has a turn.")] = 30,
    memory: Annotated[
        bool, typer.Option(help="Also start each file in a process of its own: memory, start.")
    ] = True,
    fields: Annotated[
        str | None,
        typer.Option(
            help="Also times the field path on this source (a folder, a file, sim:...), and others "
            "on its fields."
        ),
    ] = None,
    growth: Annotated[
        int,
        typer.Option(min=0, help="Also fits how time grows: up to so many fields (100, 10000)."),
    ] = 0,
    table: Annotated[Path | None, typer.Option("--csv", help="Also write the rows here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measures, prints, and remembers the fastest engine for ``--engine auto``."""
    from edge_malaria.benchmark import networks
    from edge_malaria.benchmark.chosen import remember
    from edge_malaria.benchmark.machine import this_machine

    opened = open_named(bundle)
    machine = this_machine()
    contestants, missing = _contestants(opened, against or [])
    plan = networks.Plan(
        threads=_numbers(threads, "--threads") or tuple(sorted({1, machine.cores})),
        batches=_numbers(batch, "--batch") or networks.BATCHES,
        rounds=rounds,
        alone=memory,
    )
    for words in machine.warnings():
        warn(words)
    with progress("benchmark", plan.steps(len(contestants))) as bar:
        found = networks.measure(contestants, plan, missing, bar.step)
    after = this_machine()
    for words in sorted(set(after.throttled) - set(machine.throttled)):
        warn(f"during the run the board reported: {words}.")
    for words in found.warnings:
        warn(words)
    path, fits, peers, absent = _fields(opened, fields, growth, plan.threads[0])
    found = replace(found, not_run=(*found.not_run, *absent))
    chosen = remember(opened, found.rows, machine)
    if table is not None:
        _write_csv(table, found)
    if as_json:
        print_json(
            {
                **_document(opened, machine, after, plan, found, chosen),
                "fields": path and path.as_json(),
                "field_peers": [peer.as_json() for peer in peers],
                "growth": [fit.as_json() for fit in fits],
            }
        )
    else:
        _show(opened, machine, found, chosen)
        _show_fields(path, fits)
        _show_peers(peers)


def _fields(
    bundle: Bundle, source: str | None, most: int, threads: int
) -> tuple[FieldCost | None, list[Growth], list[PeerCost], list[NotRun]]:
    from edge_malaria.benchmark import field_path
    from edge_malaria.benchmark.field_peers import measure_peers

    cost = None
    peers: list[PeerCost] = []
    missing: list[NotRun] = []
    if source is not None:
        pictures = field_path.jpegs_of(source)
        count = max(16, 2 * len(pictures)) + 1
        cost, _ = field_path.measure_fields(bundle, pictures, count, threads)
        # Some of the others take seconds a field.
        peers, missing = measure_peers(bundle, pictures[:_PEERS_FIELDS], threads)
    fits = field_path.growth(bundle, max(most, 20), threads) if most else []
    return cost, fits, peers, missing


def _show_peers(peers: list[PeerCost]) -> None:
    if peers:
        print_table(
            "decoding and finding cells, in turn on the same fields",
            ("what", "ms a field", "times ours", "cells found"),
            [
                (
                    peer.name,
                    f"{peer.ms:.1f}",
                    f"{peer.times_ours:.2f}",
                    "cost only" if peer.found is None else f"{peer.found}",
                )
                for peer in peers
            ],
        )


def _show_fields(cost: FieldCost | None, fits: list[Growth]) -> None:
    from edge_malaria.benchmark.field_path import REST

    if cost is not None:
        title = f"a field of {cost.megapixels:.1f} megapixels and {cost.cells:.0f} cells, in ms"
        names = {"rest": f"rest ({REST})"}
        rows = [(names.get(name, name), f"{ms:.1f}") for name, ms in cost.stage_ms.items()]
        print_table(title, ("stage", "ms"), [*rows, ("whole path", f"{cost.whole_ms:.1f}")])
        print(
            f"the whole path takes {cost.times_decoding:.1f} times the JPEG's decoding: "
            f"{1e3 / cost.whole_ms:.1f} fields a second"
        )
    for fit in fits:
        print(f"time grows with {fit.what} to the power {fit.exponent:.2f} (1 is linear)")


def _contestants(bundle: Bundle, against: list[str]) -> tuple[list[Contestant], list[NotRun]]:
    from edge_malaria.benchmark.contestants import NotRun, of_bundle, of_file
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.errors import MissingExtra

    found, missing = of_bundle(bundle)
    for name in against:
        path = Path(name)
        if path.is_dir() or path.suffix == ".zip":
            rival = read_bundle(path)
            title = rival.name if rival.name != bundle.name else path.name
            more, lost = of_bundle(rival, title)
        elif path.suffix.lower() in (".tflite", ".onnx"):
            more, lost = of_file(path)
        else:
            try:
                from edge_malaria.export.peers import peers_of

                more, lost = peers_of(name), []
            except MissingExtra as error:
                more, lost = [], [NotRun(name, str(error))]
        found += more
        missing += lost
    return found, missing


def _numbers(text: str, option: str) -> tuple[int, ...]:
    from edge_malaria.errors import UsageError

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and 1 <= int(part) <= 1024 for part in parts):
        raise UsageError(f"{option}: expected whole numbers from 1 to 1024, got {text!r}.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _document(
    bundle: Bundle,
    machine: Machine,
    after: Machine,
    plan: Any,
    found: Networks,
    chosen: dict[str, str],
) -> dict[str, Any]:
    return {
        "bundle": bundle.name,
        "machine": machine.as_json(),
        "temperature_after_c": after.temperature_c,
        "rounds": plan.rounds,
        "rows": [row.as_json() for row in found.rows],
        "peaks": [vars(peak) for peak in found.peaks],
        "ratios": [
            {"fast": fast, "slow": slow, "times": times} for fast, slow, times in found.ratios
        ],
        "fastest_engine": chosen,
        "not_run": [{"name": one.name, "why": one.why} for one in found.not_run],
        "warnings": [*machine.warnings(), *found.warnings],
    }


def _write_csv(path: Path, found: Networks) -> None:
    from edge_malaria.files import write_text

    text = io.StringIO()
    rows = [row.as_json() for row in found.rows]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _show(bundle: Bundle, machine: Machine, found: Networks, chosen: dict[str, str]) -> None:
    columns = ("model", "engine", "threads", "batch", "us a cell", "p95", "spread", "of peak")
    rows = [
        (
            f"{row.model} {row.variant}",
            row.engine,
            row.threads,
            row.batch,
            f"{row.median_us:.1f}",
            f"{row.p95_us:.1f}",
            f"{100 * row.spread:.0f} %",
            "" if row.share_of_peak is None else f"{100 * row.share_of_peak:.0f} %",
        )
        for row in found.rows
    ]
    board = machine.model or machine.processor
    print_table(f"{bundle.name} on {board}, {machine.cores} cores", columns, rows)
    files = {(row.model, row.variant, row.engine): row for row in found.rows}
    print_table(
        "files",
        ("model", "engine", "bytes", "MACs a cell", "start ms", "peak MiB"),
        [
            (
                f"{row.model} {row.variant}",
                row.engine,
                f"{row.bytes:,}",
                "" if row.macs is None else f"{row.macs:,}",
                "" if row.start_ms is None else f"{row.start_ms:.0f}",
                "" if row.peak_mib is None else f"{row.peak_mib:.0f}",
            )
            for row in files.values()
        ],
    )
    for peak in found.peaks:
        print(
            f"peak of {peak.arithmetic}, {peak.threads} threads: {peak.gmacs_per_s:.1f} GMAC/s "
            "(1 x 1 convolutions over 128 channels)"
        )
    for fast, slow, times in found.ratios:
        print(f"{fast} takes 1/{times:.2f} of the time of {slow}")
    for variant, engine in chosen.items():
        print(f"--engine auto will use {engine} for {variant} on this board")
    for one in found.not_run:
        log(f"not run: {one.name}: {one.why}")
