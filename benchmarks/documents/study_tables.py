"""Tables of the studies in the model card: folds, label contradictions, another site, time."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.documents.markdown import evidence, figure, interval, of_earlier_weights, table

FOLDS = ("crossval", "crossval-no-teacher")


def folds() -> str:
    """Five folds by patient, with a teacher of each fold's own and without."""
    lines: list[tuple[str, ...]] = []
    for words, path in (
        ("accuracy, raw labels", "raw_labels.accuracy"),
        ("MCC, raw labels", "raw_labels.mcc"),
        ("AUC, mean of the folds", "mean_sd.auc.mean"),
        ("accuracy, without suspect labels", "without_suspect_labels.accuracy"),
        ("AUC, without suspect labels", "without_suspect_labels.auc"),
        ("share of the errors that carry a suspect label", "errors.share_with_suspect_label"),
    ):
        cells = [figure(name, path) for name in FOLDS]
        if path == "raw_labels.accuracy":
            parts = (interval(name, "raw_labels.ci95_by_patient.accuracy") for name in FOLDS)
            cells = [f"{cell} ({part})" for cell, part in zip(cells, parts, strict=True)]
        lines.append((words, *cells))
    healthy = "healthy_patients_at_screening"
    for words, path, spec in (
        ("healthy patients", "patients", "d"),
        ("their cells", "cells", ",d"),
        ("called parasitized at the screening point", "false_positives", "d"),
        ("patients with any such cell", "patients_with_any", "d"),
    ):
        lines.append((words, *(figure(name, f"{healthy}.{path}", spec) for name in FOLDS)))
    words = "share called, 95 % interval"
    lines.append((words, *(interval(name, f"{healthy}.ci95", ".4f") for name in FOLDS)))
    return table(("", "distilled, one teacher a fold", "no teacher"), lines)


def contradictions() -> str:
    """How many errors of the folds are likely errors of the labels."""
    likely, share = "likely_contradicted", "share_of_errors"
    name = "label_contradictions"
    rows = (
        ("errors of the five folds", figure(name, "errors", ",d")),
        (
            "share of them with a label from the published list of suspect ones",
            figure(name, f"{share}.on the published list of doubtful labels", ".2f"),
        ),
        (
            "share of them whose label all five networks contradict",
            figure(name, f"{likely}.{share}.contradicted by every fold's network", ".2f"),
        ),
        ("accuracy as labelled", figure(name, "accuracy", ".3f")),
        (
            "accuracy if the labels that all five contradict were wrong",
            figure(name, f"{likely}.accuracy_if_those_errors_were_label_errors", ".3f"),
        ),
    )
    return table(("", ""), rows)


def another_site() -> str:
    """Two hundred cells of another laboratory: sensitivity at 0.998 specificity."""
    runs = (evidence("site_adaptation") or {"runs": []})["runs"]
    key = "sensitivity_at_specificity_0.998"
    rows = [
        (
            run["seed"],
            run["adapted_with"],
            *(f"{run[k][key]:.3f}" for k in ("never_seen", "adapted")),
        )
        for run in runs
    ]
    unadapted = "as shipped before" if of_earlier_weights("site_adaptation") else "as shipped"
    return table(("draw", "cells", unadapted, "adapted"), rows)


def time_of_networks() -> str:
    """Processor time of the studies' network beside the default's, on two processors."""
    path = "networks_by_processor.{}.sequential3 {}.times_compact_median_processor"
    rows = [
        (words, *(figure("latency_models", path.format(cpu, key), ".1f") for cpu in CPUS))
        for words, key in (
            ("`sequential3`, int8 on LiteRT", "int8 litert"),
            ("`sequential3`, Keras `predict`", "keras predict"),
        )
    ]
    columns = ("times the default's", "an idle AVX2 processor", "another one, beside other work")
    return table(columns, rows)


CPUS = ("avx2", "unrecorded")

TABLES: dict[str, Callable[[], str]] = {
    "study-folds": folds,
    "study-contradictions": contradictions,
    "study-another-site": another_site,
    "study-time": time_of_networks,
}
