"""The table of docs/RESULTS.md: what was aimed at and what was reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.documents.gallery_tables import passes
from benchmarks.documents.markdown import evidence, evidence_words, figure, table, value_at


@dataclass(frozen=True)
class Aim:
    """One aim.

    Attributes:
        words: what is measured.
        name: the evidence file, without suffix.
        path: of the value in it.
        target: the value aimed at.
        at_most: the value must not exceed the target; else it must not fall below it.
        spec: format of the value.
    """

    words: str
    name: str
    path: str
    target: float
    at_most: bool = False
    spec: str = ".4f"


CPU = "networks_by_processor.{}.sequential3 {}.times_compact_median_processor"
AIMS = (
    Aim("test accuracy, raw labels", "model", "test.accuracy", 0.945),
    Aim("test AUC, raw labels", "model", "test.auc", 0.988),
    Aim("five folds by patient: accuracy, raw labels", "crossval", "raw_labels.accuracy", 0.970),
    Aim("five folds by patient: AUC, raw labels", "crossval", "mean_sd.auc.mean", 0.994),
    Aim(
        "five folds by patient: accuracy without suspect labels",
        "crossval", "without_suspect_labels.accuracy", 0.990,
    ),
    Aim(
        "`sequential3` by its own protocol: validation accuracy, median of its seeds",
        "literature", "sequential3_protocol.median_of_best_val_accuracy", 0.945,
    ),
    Aim(
        "`sequential3` int8 on LiteRT, times the default's time (AVX2)",
        "latency_models", CPU.format("avx2", "int8 litert"), 12, spec=".1f",
    ),
    Aim(
        "`sequential3` Keras `predict`, times the default's time (AVX2)",
        "latency_models", CPU.format("avx2", "keras predict"), 100, spec=".1f",
    ),
    Aim(
        "draaslan256: F1 of finding cells",
        "cell_finding", "finders.learned.draaslan256.f1", 0.88, spec=".3f",
    ),
    Aim(
        "5-megapixel field: times its JPEG decoding",
        "latency_field", "times_decoding", 3, at_most=True, spec=".1f",
    ),
    *(
        Aim(
            f"scikit-image watershed, times the finder's time, {name}",
            "field_peers", f"sets.{name}.times_ours", 5, spec=".1f",
        )
        for name in ("bccd", "draaslan256")
    ),
    Aim(
        "westlake: parasitemia, relative error",
        "malaria_fields", "westlake.relative_error", 0.25, at_most=True, spec=".2f",
    ),
    *(
        Aim(
            f"one careful reader: limit of detection at {cells:,} cells", "slide_coverage",
            f"limits_by_running.nih, no site.{cells}.reader careful", target, at_most=True,
            spec=".5f",
        )
        for cells, target in ((5000, 0.0012), (1000, 0.006))
    ),
    *(
        Aim(
            f"program alone with a site profile: limit of detection at 5,000 cells, {site}",
            "slide_coverage", f"limits_by_running.{site}, site.5000.alone", 0.01, at_most=True,
            spec=".3f",
        )
        for site in ("bccd", "chula_more", "cheap_rig", "pbc")
    ),
    Aim(
        "careful reader with a site profile: shown 95 % intervals that hold the truth",
        "slide_coverage", "modes.site, careful.coverage", 0.93, spec=".3f",
    ),
)  # fmt: skip


def missed() -> str:
    """Every aim beside its figure; a missed one in bold."""
    rows = []
    for aim in AIMS:
        value: Any = value_at(evidence(aim.name) or {}, aim.path)
        # Where no number is given the aim is missed.
        given = value is not None
        met = given and (value <= aim.target if aim.at_most else value >= aim.target)
        shown = figure(aim.name, aim.path, aim.spec) if given else "no number"
        sign = "<=" if aim.at_most else ">="
        source = f"[{evidence_words(aim.name)}](evidence/{aim.name}.json)"
        rows.append((aim.words, f"{sign} {aim.target:g}", shown if met else f"**{shown}**", source))
    return table(("what", "aim", "reached", "evidence"), rows)


def protocol_runs() -> str:
    """How the way of holding cells back changes ``sequential3``'s accuracy."""
    found = evidence("literature") or {}
    rows = [
        (
            run["split"],
            run["seed"],
            run["patients_on_both_sides"],
            f"{run['best_val_accuracy']:.4f}",
            passes(found, run),
        )
        for run in found["sequential3_protocol"]["runs"]
    ]
    columns = ("held back", "seed", "patients on both sides", "validation accuracy", "passes")
    return table(columns, rows)


def studies_five_folds() -> str:
    """Five folds by patient of the studies' networks and of a classical method."""
    means = "mean_sd.{}.mean"
    methods = (
        ("`compact`, distilled", "crossval", means),
        ("`fast50`", "literature", f"five_fold_by_patient.fast50.{means}"),
        ("`sequential3`", "literature", f"five_fold_by_patient.sequential3.{means}"),
        ("SVM on handcrafted features", "baselines", "methods.svm-crossval.mean.{}"),
    )
    rows = [
        (words, *(figure(name, path.format(key)) for key in ("accuracy", "auc")))
        for words, name, path in methods
    ]
    return table(("method", "accuracy, mean of the folds", "AUC, mean of the folds"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "results-aims": missed,
    "results-protocol": protocol_runs,
    "results-five-folds": studies_five_folds,
}
