"""When int8 fails the gate: name the worst layers, then try the fallback recipes in turn.

``converters.recipes`` lists them. The first that passes ships and is named in the bundle. A partly
float file replaces int8 under the name ``int8-mixed``. Where none passes, nothing ships.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from converters import diagnose, recipes, to_tflite
from converters.calibration import choose_calibration
from converters.freed_memory import give_back
from edge_malaria.bundle import golden
from edge_malaria.data.dataset import Dataset
from edge_malaria.export.convert import Work, add_files, drop_variant
from edge_malaria.parity import ParityReport

if TYPE_CHECKING:
    from edge_malaria.records import Image

WORST_SHOWN = 5


def try_fallbacks(
    work: Work,
    cells: golden.GoldenCells,
    dataset: Dataset | None,
    report: ParityReport,
    run_gate: Callable[[], ParityReport],
) -> ParityReport:
    """Tries recipe after recipe until the gate passes.

    Args:
        work: the bundle in the making; its int8 files failed.
        cells: the golden cells.
        dataset: train patients for fine-tuning; None leaves that recipe out.
        report: of the failed gate.
        run_gate: writes the index and gates the directory again.

    Returns:
        The report of the last gate, with the worst layers of the int8 file that failed.
    """
    noise = diagnose.layer_noise(
        work.float32, work.tflite["int8"], cells.inputs, work.effort.diagnosed
    )
    worst = tuple(layer.as_json() for layer in diagnose.worst_first(noise)[:WORST_SHOWN])
    for failure in report.all_failures()[:3]:
        work.log(f"gate      {failure.message}")
    work.log("worst     " + ", ".join(f"{w['layer']} {w['sqnr_db']} dB" for w in worst))
    has_data = dataset is not None and dataset.has_splits
    if work.calibration is None and dataset is not None and has_data:
        work.calibration = choose_calibration(dataset, work.source.target, work.effort.calibration)
    fallbacks = recipes.later_recipes(
        noise,
        has_calibration=work.calibration is not None,
        has_data=has_data and work.options.fine_tune and _can_learn(work),
        after_ranges=work.source.has_ranges,
    )
    ranged: bytes | None = None
    for recipe in fallbacks:
        give_back()
        started = time.monotonic()
        work.log(f"fallback  trying {recipe.title}")
        if recipe.keep_float and ranged is None:
            ranged = to_tflite.with_ranges(work.source.plain, _cells(work))
        data = recipes.convert(_model(work, recipe, dataset), recipe, _cells(work), ranged)
        for variant in ("int8", "int8-mixed"):
            drop_variant(work, variant)
        work.recipe = recipe.name
        report = _judged(work, cells, recipe.variant, data, started, run_gate)
        if report.passed:
            work.log(f"fallback  {recipe.name} passed")
            break
    return replace(report, worst_layers=worst)


def _judged(
    work: Work,
    cells: golden.GoldenCells,
    variant: str,
    data: bytes,
    started: float,
    run_gate: Callable[[], ParityReport],
) -> ParityReport:
    """Writes the files of one recipe and runs the gate on them, one format after the other.

    All carry the same weights and steps. Where the first of them fails, nothing is spent on the
    next; a recipe passes with all of its files beside each other.
    """
    for name in dict.fromkeys(work.options.formats):
        add_files(work, cells, variant, data, started, (name,))
        report = run_gate()
        if not report.passed:
            break
    return report


def _can_learn(work: Work) -> bool:
    """Whether the network can be fine-tuned with rounding; says why not."""
    from edge_malaria.training.quantization.fold import obstacle

    reason = obstacle(work.source.plain)
    if reason is not None:
        work.log(f"fallback  fine-tuning is left out: {reason}")
    return reason is None


def _model(work: Work, recipe: recipes.Recipe, dataset: Dataset | None) -> Any:
    if recipe.name == recipes.EQUALIZED and work.calibration is not None:
        from converters.equalize import equalized

        return equalized(work.source.plain, work.calibration.inputs)
    if not recipe.fine_tune or dataset is None:
        # A partly float file is calibrated: ranges in the model would quantize every layer.
        return work.source.plain
    from edge_malaria.training.quantization.fine_tune import fine_tune

    return fine_tune(work.source.plain, dataset, target=work.source.target)


def _cells(work: Work) -> Image | None:
    return None if work.calibration is None else work.calibration.inputs
