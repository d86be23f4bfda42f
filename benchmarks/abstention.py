"""What gets "unsure" instead of a label -> docs/evidence/abstention.json.

    python -m benchmarks.abstention --data "$EDGE_MALARIA_DATA"          # measures
    python -m benchmarks.abstention --data "$EDGE_MALARIA_DATA" --fit    # rewrites foreign.json

``--fit`` finds the colour rules on train patients' cells and on two thirds of the field sets that
may be used for it (bccd, draaslan256, chula; iml only reports) and on drawn cells. Measuring uses
the report thirds, val and test patients, and the limits in the shipped bundle, which training
fitted to train patients.
``other laboratory`` leaves one laboratory out of the fit altogether: what a third one may expect.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import ROOT, write_evidence
from benchmarks.foreign_cells import field_inputs
from edge_malaria.bundle import read_bundle
from edge_malaria.dataset import open_dataset
from edge_malaria.files import write_json
from edge_malaria.metrics import clopper_pearson_interval
from edge_malaria.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.runtime.abstain import not_a_red_cell
from edge_malaria.runtime.classify import shipped_bundle
from edge_malaria.runtime.foreign import NAMES, colour_measures, quadratic, rule_scores
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.cells import RENDERINGS, default_cache, load_renderings

Floats = NDArray[np.float64]
SIZE_PX = 48
SEED = 1
DRAWN_RED = ("healthy", "ring", "late-trophozoite", "schizont")
DRAWN_FOREIGN = ("white-cell", "platelet")
# Cells of a group in the fit, so that no laboratory outweighs another; NIH has the most stains.
EACH, EACH_NIH, EACH_RULE = 300, 1000, 900
PENALTY = 0.01


def drawn(kinds: tuple[str, ...], count: int, seed: int) -> dict[str, Image]:
    """Drawn cells: "drawn <kind>" -> uint8 [count, S, S, 3]."""
    groups = {}
    for kind in kinds:
        rng = np.random.default_rng(seed)
        cells = [draw_cell(rng, kind) for _ in range(count)]
        groups[f"drawn {kind}"] = np.stack([network_input(c.image, SIZE_PX, c.mask) for c in cells])
    return groups


def nih(data: Path, split: str) -> dict[str, Image]:
    """Cells of one split by label."""
    dataset = open_dataset(data / "nih" / "cell_images.zip").select(split)
    cells = load_renderings(dataset, SIZE_PX, RENDERINGS, cache=default_cache())["full"]
    return {
        f"{word} cells, nih {split}": cells.inputs[cells.labels == label]
        for label, word in ((0, "healthy"), (1, "parasitized"))
    }


def logistic(design: Floats, targets: Floats, penalty: float = PENALTY) -> Floats:
    """Ridge logistic regression by Newton's method; the first column is the offset."""
    weights = np.zeros(design.shape[1])
    ridge = penalty * np.eye(len(weights))
    ridge[0, 0] = 1e-6
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30, 30)))
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design / len(design) + ridge
        slope = design.T @ (chance - targets) / len(design) + ridge @ weights
        step = np.linalg.solve(curvature, slope)
        weights -= step
        if np.abs(step).max() < 1e-4:
            break
    return weights


def fit_rules(groups: dict[str, Image], without: str = "") -> dict[str, Any]:
    """One rule a laboratory with foreign cells: its white cells and platelets against all red."""
    usable = {k: v for k, v in groups.items() if not without or without not in k}
    measures = {name: colour_measures(inputs) for name, inputs in usable.items()}
    train = np.concatenate([v for k, v in measures.items() if "nih" in k])
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    rng = np.random.default_rng(SEED)

    def some(name: str, count: int) -> Floats:
        chosen = rng.integers(0, len(measures[name]), count)
        return quadratic(measures[name][chosen], mean, deviation)

    foreign = [k for k in measures if k.startswith(("white", "platelets", "drawn white"))]
    foreign += [k for k in measures if k.startswith("drawn platelet")]
    red = [k for k in measures if k not in foreign and "iml" not in k]
    against = np.concatenate([some(k, EACH_NIH if "nih" in k else EACH) for k in red])
    rules = []
    for place in ("bccd", "draaslan256", "drawn"):
        own = [k for k in foreign if place in k and len(measures[k]) >= 40]
        if not own:
            continue
        cells = np.concatenate([some(k, EACH_RULE // len(own)) for k in own])
        design = np.concatenate([cells, against])
        targets = np.r_[np.ones(len(cells)), np.zeros(len(against))]
        weights = logistic(design, targets)
        rules.append({"name": place, "weights": [round(float(w), 5) for w in weights]})
    return {
        "measures": list(NAMES),
        "mean": [round(float(v), 6) for v in mean],
        "deviation": [round(float(v), 6) for v in deviation],
        "rules": rules,
    }


def with_limits(rules: dict[str, Any], train: Image, base: dict[str, Any]) -> dict[str, Any]:
    """``base`` (of a bundle) with other rules, their limits read from ``train``."""
    share = base["foreign"]["share_left_out_by_each_rule"]
    above = np.quantile(rule_scores(train, rules), 1.0 - share, axis=0)
    limited = [
        {**rule, "limit": max(0.0, float(limit))}
        for rule, limit in zip(rules["rules"], above, strict=True)
    ]
    return {**base, "foreign": {**rules, "rules": limited}}


def told(inputs: Image, fitted: dict[str, Any]) -> dict[str, Any]:
    """Share that gets "unsure", with its interval."""
    unsure = not_a_red_cell(inputs, fitted)
    interval = clopper_pearson_interval(int(unsure.sum()), len(unsure))
    rate = round(float(unsure.mean()), 5)
    return {"n": len(unsure), "unsure": rate, "ci95": list(interval) if interval else None}


def spoilt(cells: Image) -> dict[str, Image]:
    """Red cells out of focus and crops with nothing on them."""
    some = cells[::8]
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 4.0) for image in some])
    levels = (0, 60, 128, 200, 230, 255)
    blank = np.stack([np.full((SIZE_PX, SIZE_PX, 3), level, np.uint8) for level in levels])
    return {"red cells, nih test, blurred (sigma 4 of 48 px)": blurred, "blank crops": blank}


def milliseconds(inputs: Image, fitted: dict[str, Any], repeats: int = 9) -> float:
    """Median time for 300 cells on this machine."""
    cells = inputs[:300]
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        not_a_red_cell(cells, fitted)
        times.append(time.perf_counter() - began)
    return round(1000.0 * float(np.median(times)), 2)


def shipped_limits() -> dict[str, Any]:
    """What the default bundle holds."""
    decision = read_bundle(shipped_bundle()).classifier.decision
    found: dict[str, Any] = decision["abstention"]["not_a_red_cell"]
    return found


def measure(data: Path) -> dict[str, Any]:
    """Report thirds, val and test, with the limits that training fits."""
    train = np.concatenate(list(nih(data, "train").values()))
    fitted = shipped_limits()
    test = nih(data, "test")
    report = field_inputs(data, "report", SIZE_PX)
    groups = {**nih(data, "val"), **test, **report}
    groups |= drawn((*DRAWN_RED, *DRAWN_FOREIGN, "debris"), 100, SEED + 1)
    groups |= spoilt(np.concatenate(list(test.values())))
    fit_groups = {**nih(data, "train"), **field_inputs(data, "fit", SIZE_PX)}
    fit_groups |= drawn((*DRAWN_RED, *DRAWN_FOREIGN), 100, SEED)
    unseen = {}
    for place in ("bccd", "draaslan256"):
        elsewhere = with_limits(fit_rules(fit_groups, without=place), train, fitted)
        unseen[place] = {k: told(v, elsewhere) for k, v in report.items() if place in k}
    return {
        "unsure": {name: told(inputs, fitted) for name, inputs in groups.items()},
        "other laboratory": unseen,
        "ms_per_300_cells": milliseconds(train, fitted),
    }


def main() -> None:
    """Fits the rules, or measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fit", action="store_true", help="rewrite the colour rules")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.fit:
        groups = {**nih(given.data, "train"), **field_inputs(given.data, "fit", SIZE_PX)}
        groups |= drawn((*DRAWN_RED, *DRAWN_FOREIGN), 100, SEED)
        write_json(ROOT / "edge_malaria" / "runtime" / "foreign.json", fit_rules(groups))
        return
    command = 'python -m benchmarks.abstention --data "$EDGE_MALARIA_DATA"'
    path = write_evidence("abstention", command, measure(given.data), SEED)
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
