"""The gallery's tables, from docs/evidence alone."""

from __future__ import annotations

from typing import Any

from benchmarks.documents.markdown import evidence, number, table

FOLD_COLUMNS = ("accuracy", "auc", "sensitivity", "specificity", "mcc")


def protocol(found: dict[str, Any]) -> str:
    """Best validation accuracy of each way of holding cells back."""
    rows: list[tuple[object, ...]] = [
        (
            run["split"],
            run["seed"],
            run["val_cells"],
            run["patients_on_both_sides"],
            number(run["best_val_accuracy"]),
            run["best_epoch"],
            passes(found, run),
        )
        for run in found["sequential3_protocol"]["runs"]
    ]
    columns = ("held back", "seed", "cells", "patients on both sides", "best accuracy", "epoch")
    return table((*columns, "passes"), rows)


def passes(found: dict[str, Any], run: dict[str, Any]) -> str:
    """How many passes a training took, and whether it was stopped before its protocol's end."""
    short = f"protocol-{run['split']}-{run['seed']}" in found["not_run"]
    return f"{len(run['history'])}{', cut short' if short else ''}"


def architectures() -> str:
    """Every architecture of the literature, as the evidence has it."""
    found = evidence("literature")
    if not found or not found["architectures"]:
        return ""
    rows: list[tuple[object, ...]] = [
        (
            f"`{row['arch']}`",
            row["size_px"],
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:,.1f} M",
            f"{row['int8_bytes']:,}",
            f"{row['cells']} x {row['epochs']}",
            number(row["keras"]["accuracy"]),
            number(row["int8"]["accuracy"]),
            f"passed as {row['variant']}" if row["parity"]["passed"] else "refused",
        )
        for row in found["architectures"]
    ]
    columns = ("network", "px", "parameters", "MACs", "int8 bytes", "cells x epochs")
    words = (
        "These networks were trained briefly, because two cores manage no more; the column "
        '"cells x epochs" says how briefly. Compare each export with its own network, not the '
        "networks with each other. An accuracy near one half means that the steps did not suffice, "
        "not that the network cannot learn."
    )
    missing = [name.removeprefix("brief-") for name in found["not_run"] if "brief-" in name]
    parts = [words, table((*columns, "float", "int8", "gate"), rows)]
    refused = [row for row in found["architectures"] if not row["parity"]["passed"]]
    parts += [f"`{row['arch']}` was refused: {first_reason(row)}." for row in refused]
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        parts.append(f"Not trained by today's plan yet: {named}. A row above is of an older one.")
    return "\n\n".join(parts)


def first_reason(row: dict[str, Any]) -> str:
    """What the gate says first against a network that it refused."""
    said: list[str] = [part.strip() for part in row["parity"]["verdict"].split("; ")]
    return next((part for part in said if part.startswith("[")), said[0]).rstrip(".;")


def five_folds() -> str:
    """Mean and spread over five folds: our network, the studies' and a classical method."""
    rows: list[tuple[object, ...]] = []
    for name in ("crossval", "crossval-no-teacher"):
        entry = evidence(name)
        if entry:
            teachers = ("no teacher", "a teacher a fold", "two teachers a fold")
            title = f"`compact`, {teachers[entry['teachers']]}"
            rows.append((title, "patient", len(entry["folds"]), *spreads(entry["mean_sd"])))
    found = evidence("literature") or {}
    for by in ("patient", "cell"):
        for arch, entry in found.get(f"five_fold_by_{by}", {}).items():
            if entry["mean_sd"]:
                rows.append((f"`{arch}`", by, len(entry["folds"]), *spreads(entry["mean_sd"])))
    svm = (evidence("baselines") or {"methods": {}})["methods"].get("svm-crossval")
    if svm:
        both = {key: {"mean": svm["mean"][key], "sd": svm["sd"][key]} for key in FOLD_COLUMNS}
        rows.append(("SVM on handcrafted features", "patient", 5, *spreads(both)))
    if not rows:
        return ""
    words = (
        "Raw labels, int8 on LiteRT where it is a network. Each method as its own study trains it: "
        "`compact` by this project's recipe, the others on the cells as they are. Folds made of "
        "cells put a patient's cells on both sides."
    )
    return words + "\n\n" + table(("method", "folds by", "folds", *FOLD_COLUMNS), rows)


def spreads(mean_sd: dict[str, Any]) -> list[str]:
    """Mean ± standard deviation of each of ``FOLD_COLUMNS``."""
    entries = (mean_sd[key] for key in FOLD_COLUMNS)
    return [f"{number(entry['mean'])} ± {number(entry['sd'])}" for entry in entries]


def baselines() -> str:
    """Classical methods on the fixed split by patient."""
    found = evidence("baselines")
    fixed = [m for m in found["methods"].values() if "fixed" in m["protocol"]] if found else []
    if not found or not fixed:
        return ""
    rows: list[tuple[object, ...]] = [
        (
            f"`{row['method']}`",
            row["summary"],
            row["training"] if row["finished"] else small(row["training"]),
            *(number(row["raw_labels"][key]) for key in FOLD_COLUMNS),
        )
        for row in fixed
    ]
    columns = ("method", "what it is", "training", *FOLD_COLUMNS)
    words = "Test patients of the fixed split, raw labels."
    return words + "\n\n" + table(columns, rows)


def small(training: dict[str, int]) -> str:
    """How small a network behind a classical method was trained."""
    batch = training.get("batch", 64)
    words = f"{training['cells']} cells x {training['epochs']}, {training['input_size']} px"
    return f"{words}, batches of {batch}"


def segmentation() -> str:
    """The FCN beside the two finders."""
    found = evidence("segmentation_fcn")
    if not found:
        return ""
    rows: list[tuple[object, ...]] = [
        (
            name,
            row["figure"],
            *(number(row.get(who)) for who in ("classical", "learned", "semantic")),
        )
        for name, row in found["verdict"]["by_set"].items()
    ]
    ships = "ships" if found["verdict"]["ships"] else "does not ship"
    words = f"The FCN, a fully convolutional network, {ships}."
    if finder_changed(found["verdict"]["by_set"]):
        words += (
            " The learned finder's figures are earlier ones; today's stand in "
            "[CELL_FINDING.md](CELL_FINDING.md#measured)."
        )
    return words + "\n\n" + table(("fields", "figure", "classical", "learned", "FCN"), rows)


def finder_changed(by_set: dict[str, Any]) -> bool:
    """Whether the learned finder has other figures in cell_finding.json by now."""
    today = (evidence("cell_finding") or {})["finders"]["learned"]
    return any(row["learned"] != today[name].get(row["figure"]) for name, row in by_set.items())
