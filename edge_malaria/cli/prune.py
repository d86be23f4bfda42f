"""``edge-malaria prune``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    NoPatientsOption,
    PatientsOption,
    UnknownPatientsOption,
    open_cells,
)
from edge_malaria.cli.options import new_keras_file
from edge_malaria.cli.output import log, print_json, print_table, progress


def register(app: typer.Typer) -> None:
    """Adds ``prune`` to the app."""
    app.command("prune", help="Remove whole filters, rebuild, fine-tune and requantize.")(prune)


def prune(
    model: Annotated[str, typer.Argument(help="A file, or a shipped model's name.")],
    data: Annotated[Path, typer.Option(help="Data set; train and val patients are used.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .keras file to write.")],
    criterion: Annotated[
        str, typer.Option(help="l1, l2, bn-scale, taylor1, taylor2 or learned.")
    ] = "taylor2",
    keep: Annotated[float, typer.Option(help="Share that stays, in (0, 1).")] = 0.5,
    target: Annotated[
        str,
        typer.Option(help="Share of: filters, macs, bytes or latency (int8 on LiteRT, measured)."),
    ] = "macs",
    rounds: Annotated[int, typer.Option(min=1, help="Score-remove-tune rounds.")] = 4,
    epochs: Annotated[int, typer.Option(min=0, help="Fine-tuning passes a round.")] = 2,
    fine_tune: Annotated[int, typer.Option(min=1, help="Passes with int8 rounding.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides everything random.")] = 0,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    unknown_patients: UnknownPatientsOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Prunes a network on train patients and writes it with ranges and operating points."""
    from edge_malaria.training.classifier.cells import (
        RENDERINGS,
        default_cache,
        fitting_rows,
        load_renderings,
    )
    from edge_malaria.training.classifier.recipe import Recipe
    from edge_malaria.training.pruning.prune import TARGETS, Schedule, measure
    from edge_malaria.training.pruning.pruned import prune_and_quantize

    new_keras_file(output, force)
    schedule = Schedule(criterion, keep, target, rounds, epochs)  # type: ignore[arg-type]
    network, pruned_from = _network(model)
    cells = open_cells(data, patients, no_patients, classes, unknown_patients)
    train_rows, val_rows = fitting_rows(cells)
    size = int(network.input.shape[1])
    with progress("reading cells", len(train_rows.rows) + len(val_rows.rows)) as bar:
        train = load_renderings(train_rows, size, RENDERINGS, cache=default_cache(), step=bar.step)
        val = load_renderings(val_rows, size, cache=default_cache(), step=bar.step)["full"]
    recipe = Recipe(seed=seed, learning_rate=1e-3, weight_decay=0.0)
    clock = int8_milliseconds if target == "latency" else None
    start: dict[str, float] = {name: measure(network, name) for name in TARGETS}
    if clock:
        start["latency"] = clock(network)
    smaller = prune_and_quantize(
        *(network, train, val, schedule, recipe, output),
        fine_tune_epochs=fine_tune,
        report=_report,
        clock=clock,
        pruned_from=pruned_from,
    )
    _show(output, start, smaller, as_json)


def int8_milliseconds(model: Any, cells: int = 64, repeats: int = 15) -> float:
    """Fastest of ``repeats`` runs of a network's int8 file, one thread, ``cells`` at once, in ms.

    Its ranges come from noise: time does not depend on them.
    """
    import time

    import numpy as np

    from converters.to_tflite import convert
    from edge_malaria.runtime.engines.opening import open_engine

    size = int(model.input.shape[1])
    batch = np.random.default_rng(0).integers(0, 256, (cells, size, size, 3), dtype=np.uint8)
    engine = open_engine(convert(model, "int8", batch), "litert", 1)
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        engine.run(batch)
        times.append(time.perf_counter() - began)
    # The first runs set memory up; whatever else the machine does only adds time.
    return 1000.0 * min(times[2:])


def _network(model: str) -> tuple[Any, dict[str, Any] | None]:
    """The float network to prune; one of somebody else by the contract in its TOML.

    Returns:
        The network, and of somebody else's where it came from.

    Raises:
        UsageError: cells for it are prepared in a way that training does not know.
    """
    from edge_malaria.cli.own_model import asking
    from edge_malaria.errors import UsageError
    from edge_malaria.export.load import is_own, load_source
    from edge_malaria.training.quantization.fold import with_input_scale

    path = _resolved(model)
    if path.suffix == ".keras" and is_own(path):
        source = load_source(str(path))
        return with_input_scale(source.plain), source.provenance.get("pruned_from")
    with asking(options=False):
        source = load_source(str(path))
    how = source.target
    if how.resize not in ("area", "linear") or how.mask != "black":
        raise UsageError(
            f"{model} takes cells by resize {how.resize} and mask {how.mask}; pruning trains on "
            "averaged areas with black around. Only area or linear, and black, are near enough."
        )
    return with_input_scale(source.plain), source.provenance


def _resolved(model: str) -> Path:
    import edge_malaria

    path = Path(model)
    shipped = Path(edge_malaria.__file__).parent / "models" / f"{model}.keras"
    return shipped if path.suffix != ".keras" and shipped.is_file() else path


def _report(stage: str, entry: dict[str, float]) -> None:
    log(stage + "  " + "  ".join(f"{key} {value:.5g}" for key, value in entry.items()))


def _show(output: Path, start: dict[str, float], smaller: Any, as_json: bool) -> None:
    if as_json:
        print_json({"model": str(output), "before": start, **smaller})
        return
    rows = [(name, start[name], smaller["after"][name]) for name in start]
    print_table(
        f"{output}: validation AUC {smaller['val_auc']:.4f}", ("measure", "before", "after"), rows
    )
    print(f"next: edge-malaria export {shlex.quote(str(output))} --int8 -o my-bundle")
