"""Tables of the README and the model card: what the shipped classifiers were measured at."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.documents.markdown import (
    evidence,
    figure,
    interval,
    of_earlier_weights,
    table,
)
from benchmarks.evidence_file import EVIDENCE
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle

CLEAN = "test.without_suspect_labels"


def readme() -> str:
    """Six figures for somebody who has one minute."""
    accuracy = f"{figure('model', 'test.accuracy')} ({interval('model', 'test.ci95.accuracy')})"
    rows = (
        ("28 test patients, every label as published", accuracy, figure("model", "test.auc")),
        ("the same, without the suspect labels", "", figure("model", f"{CLEAN}.auc")),
        ("one slide of another laboratory", "", figure("model", "westlake.auc")),
    )
    return table(("cells", "accuracy (95 % interval, by patient)", "AUC"), rows)


def measured() -> str:
    """The default model on test patients and on the other laboratory's slide."""
    rows: list[tuple[str, ...]] = [
        (
            "cells",
            figure("model", "test.n", ",d"),
            figure("model", f"{CLEAN}.n", ",d"),
            figure("model", "westlake.n", ",d"),
        )
    ]
    for name, key in (
        ("accuracy", "accuracy"),
        ("AUC", "auc"),
        ("sensitivity", "sensitivity"),
        ("specificity", "specificity"),
        ("MCC", "mcc"),
    ):
        first = f"{figure('model', f'test.{key}')} ({interval('model', f'test.ci95.{key}')})"
        parts = (f"{CLEAN}.{key}", f"westlake.{key}")
        rows.append((name, first, *(figure("model", part) for part in parts)))
    for share in ("0998", "0995"):
        key = f"sensitivity_at_{share}_specificity.0"
        clean = figure("model", f"{CLEAN}.{key}") if share == "0995" else ""
        words = f"sensitivity where specificity is 0.{share[1:]}"
        rows.append(
            (words, figure("model", f"test.{key}"), clean, figure("model", f"westlake.{key}"))
        )
    for key in ("sensitivity", "specificity"):
        first, last = (figure("model", f"{part}.screening.{key}") for part in ("test", "westlake"))
        rows.append((f"{key} at the screening point", first, "", last))
    words = '"unsure" (such cells still count in every line above)'
    first, last = (figure("model", f"{part}.abstained", "d") for part in ("test", "westlake"))
    rows.append((words, first, "", last))
    columns = (
        "int8 on LiteRT, balanced point",
        "test patients, raw labels (95 % interval, by patient)",
        "test patients, without suspect labels",
        "westlake, `--mask auto`",
    )
    return table(columns, rows)


def int8_bytes(name: str) -> str:
    """Bytes of the first network's int8 file, and of the second one's where there is one."""
    bundle = read_bundle(shipped_bundle(name.partition("-")[2] or "default"))
    second = bundle.second_file("int8", "litert")
    beside = "" if second is None else f" + {second.bytes:,d}"
    return figure(name, "bytes.int8_litert", ",d") + beside


def both_models() -> str:
    """The two shipped classifiers beside each other, and int8 beside float32."""
    lines = (
        ("test accuracy, raw labels", "test.accuracy", ".4f"),
        ("test AUC, raw labels", "test.auc", ".4f"),
        ("test accuracy, int8 minus float32, in points",
         "int8_minus_float_accuracy_points", "+.2f"),
        ("westlake AUC, `--mask auto`", "westlake.auc", ".4f"),
        ("westlake AUC, crops as they are", "westlake_unmasked.auc", ".4f"),
        ("test cells", "pairs.cells", ",d"),
        ("of them: int8 outputs that LiteRT and ONNX Runtime give differently",
         "pairs.int8_litert_vs_onnx_differing", "d"),
        ("float32 logits, LiteRT against ONNX Runtime: largest difference",
         "pairs.float32_litert_vs_onnx_max_abs_logit", ".1e"),
    )  # fmt: skip
    models = ("model", "model-micro")
    rows = [(words, *(figure(m, path, spec) for m in models)) for words, path, spec in lines]
    rows.insert(0, ("bytes of the int8 TFLite file, of each network", *map(int8_bytes, models)))
    return table(("", "`default`", "`micro`"), rows)


UNSURE = (
    ("white cells, bccd", "white cells, bccd, box"),
    ("white cells, draaslan256", "white cells, draaslan256, box"),
    ("platelets cut alone, bccd", "platelets, bccd, box"),
    ("badly blurred red cells", "red cells, nih test, blurred (sigma 4 of 48 px)"),
    ("drawn debris", "drawn debris"),
    ("healthy red cells, test patients", "healthy cells, nih test"),
    ("parasitized red cells, test patients", "parasitized cells, nih test"),
    ("red cells cut by the finder, iml", "red cells, iml, finder"),
    ("red cells cut by the finder, chula", "red cells, chula, finder"),
    ("red cells cut by the finder, bccd", "red cells, bccd, finder"),
    ("red cells cut by the finder, draaslan256", "red cells, draaslan256, finder"),
    ("healthy cells, westlake", "healthy cells, westlake"),
    ("parasitized cells, westlake", "parasitized cells, westlake"),
)


def unsure() -> str:
    """What gets "unsure"."""
    rows = [
        (
            words,
            figure("abstention", f"unsure.{key}.n", ",d"),
            figure("abstention", f"unsure.{key}.unsure"),
            interval("abstention", f"unsure.{key}.ci95", ".4f"),
        )
        for words, key in UNSURE
    ]
    return table(("crops", "number", "share that gets unsure", "95 % interval"), rows)


def earlier() -> str:
    """Evidence of a classifier that shipped before."""
    names = [path.stem for path in sorted(EVIDENCE.glob("*.json"))]
    rows = [
        (f"[{name}](evidence/{name}.json)", f"`{(evidence(name) or {})['command']}`")
        for name in names
        if of_earlier_weights(name)
    ]
    return table(("measured with the weights before", "by"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "readme": readme,
    "model-measured": measured,
    "model-both": both_models,
    "model-unsure": unsure,
    "model-earlier": earlier,
}
