"""One threshold for every laboratory -> docs/evidence/laboratories[-BUNDLE].json.

    python -m benchmarks.cells.laboratories --data "$EDGE_MALARIA_DATA" [--bundle BUNDLE]
        [--before BUNDLE] [--left-out LABORATORY=FILE ...] [--cache DIR]

For each network: the lowest threshold where no malaria-free source has more than 1 % (.1 %)
of its cells called, and the sensitivity there on westlake, on iml's asexual stages and on the NIH
val and test patients without suspect labels. What share of each source is called at the thresholds
where 1 % (.1 %) of the uninfected NIH val cells without suspect labels are. AUCs, those of NIH also
without suspect labels. Of a bundle also NIH test accuracy, and what is called at its own two
points. Cells are cut by the shipped finder and scaled as ``screen`` does; report thirds alone
(``phone_eyepiece`` whole: it never trains).
The bundle is measured as it decides, by its first answers, and with the mean logit of eight views
of every cell. ``--before``: a bundle without the colour scaling that shipped before, as it was and
behind the scaling. ``--left-out``: float networks that were fitted without a laboratory.
Everything only reports.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.laboratory_cells import SOURCES, all_cells
from benchmarks.evidence_file import shipped_sha256, write_evidence
from benchmarks.slides.laboratory_scores import left_out_scorer
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.metrics import auc
from edge_malaria.prepare.contract import preparation
from edge_malaria.prepare.stain import StainScaling
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.engines.base import Engine

ASEXUAL = ("ring", "trophozoite", "schizont")
LIMITS = (0.01, 0.001)
Logits = NDArray[np.float64]
Network = Callable[[Image], Logits]
BEFORE, BEFORE_SCALED = "shipped before", "shipped before, behind the colour scaling"


def home_points(
    cells: dict[str, dict[str, Any]], logits: dict[str, Logits]
) -> dict[str, dict[str, Any]]:
    """What is called where 1 % and .1 % of the uninfected val cells are, by limit."""
    nih = cells["nih"]
    plain = ~nih["truth"] & ~nih["suspect"] & (nih["split"] == "val")
    found = {}
    for limit in LIMITS:
        above = threshold_at(logits["nih"][plain], limit)
        found[f"{limit:g}"] = {"logit": above, **shares(cells, logits, above)}
    return found


def threshold_at(logits: Logits, limit: float) -> float:
    """The lowest logit above which at most ``limit`` of the cells lie."""
    ordered = np.sort(logits)[::-1]
    return float(ordered[int(limit * len(ordered))])


def shares(
    cells: dict[str, dict[str, Any]], logits: dict[str, Logits], above: float
) -> dict[str, Any]:
    """What is called where a cell is called above ``above``."""
    iml, nih, west = cells["iml"]["label"], cells["nih"], cells["westlake"]["truth"]
    sound = ~nih["suspect"]
    healthy = np.char.startswith(nih["patient"], "H")
    called = {name: values > above for name, values in logits.items()}
    return {
        "westlake": float(called["westlake"][west].mean()),
        "westlake_healthy": float(called["westlake"][~west].mean()),
        "iml_asexual": float(called["iml"][np.isin(iml, ASEXUAL)].mean()),
        "iml_plain": float(called["iml"][iml == "red blood cell"].mean()),
        "nih_without_suspect": float(called["nih"][nih["truth"] & sound].mean()),
        "nih_test_without_suspect": float(
            called["nih"][nih["truth"] & sound & (nih["split"] == "test")].mean()
        ),
        "nih_healthy_patients": float(called["nih"][healthy].mean()),
        "sources": {
            source: float(np.concatenate([called[name] for name in sets]).mean())
            for source, sets in SOURCES.items()
        },
    }


def measured(cells: dict[str, dict[str, Any]], network: Network) -> dict[str, Any]:
    """Every figure of one network that needs no operating point of its own."""
    logits = {name: network(held["inputs"]) for name, held in cells.items()}
    plain = {
        source: np.concatenate([logits[name] for name in sets]) for source, sets in SOURCES.items()
    }
    result: dict[str, Any] = {"cells": {source: len(values) for source, values in plain.items()}}
    for limit in LIMITS:
        each = {source: threshold_at(values, limit) for source, values in plain.items()}
        limiting = max(each, key=lambda source: each[source])
        result[f"at_most_{limit:g}"] = {
            "logit": each[limiting],
            "limiting_source": limiting,
            "logit_of_each": each,
            **shares(cells, logits, each[limiting]),
        }
    result["home_points"] = home_points(cells, logits)
    result["auc"] = areas(cells, logits)
    result["logits"] = logits
    return result


def areas(cells: dict[str, dict[str, Any]], logits: dict[str, Logits]) -> dict[str, float | None]:
    """Areas under the ROC curve; of NIH with all labels, and without the suspect ones."""
    iml, nih = cells["iml"]["label"], cells["nih"]
    sick = np.isin(iml, ASEXUAL)
    known, test, sound = sick | (iml == "red blood cell"), nih["split"] == "test", ~nih["suspect"]

    def home(chosen: NDArray[np.bool_]) -> float | None:
        return auc(nih["truth"][chosen].astype(int), logits["nih"][chosen])

    return {
        "westlake": auc(cells["westlake"]["truth"].astype(int), logits["westlake"]),
        "iml_asexual": auc(sick[known].astype(int), logits["iml"][known]),
        "nih_test": home(test),
        "nih_val": home(~test),
        "nih_test_without_suspect": home(test & sound),
        "nih_val_without_suspect": home(~test & sound),
    }


def logits_of(engine: Engine, batch: Image) -> Logits:
    """uint8 [N, S, S, 3] -> float64 [N]."""
    parts = [engine.run(batch[i : i + 256]).reshape(-1) for i in range(0, len(batch), 256)]
    return np.concatenate(parts).astype(np.float64)


def eight_views(network: Network, batch: Image) -> Logits:
    """A network's mean logit over the quarter turns and flips of each cell; [N]."""
    turned = [np.rot90(batch, turns, (1, 2)) for turns in range(4)]
    views = [view for one in turned for view in (one, one[:, :, ::-1])]
    return np.asarray(np.mean([network(np.ascontiguousarray(v)) for v in views], axis=0))


def own_points(
    bundle: Bundle, cells: dict[str, dict[str, Any]], logits: dict[str, Logits]
) -> dict[str, Any]:
    """What the bundle calls at its own thresholds, and NIH test accuracy at the balanced one."""
    decision = bundle.classifier.decision
    found: dict[str, Any] = {}
    for point in ("balanced", "screening"):
        chance = bundle.classifier.threshold(point)
        logit = np.log(chance / (1 - chance)) * decision.temperature - decision.bias
        found[point] = shares(cells, logits, float(np.nextafter(logit, -np.inf)))
        if point == "balanced":
            nih = cells["nih"]
            right = (logits["nih"] >= logit) == nih["truth"]
            found["nih_test_accuracy"] = float(right[nih["split"] == "test"].mean())
    return found


def deciding(classifier: Classifier) -> Network:
    """The logits that a bundle decides by, also where it asks flagged cells again."""

    def settled(batch: Image) -> Logits:
        parts = [classifier.predict_inputs(batch[i : i + 256]) for i in range(0, len(batch), 256)]
        return np.array([cell.logit for part in parts for cell in part], np.float64)

    return settled


def first_answers(bundle: Bundle) -> Network:
    """A bundle's first answers."""
    engine = Classifier(bundle).engine
    return lambda batch: logits_of(engine, batch)


def earlier_rows(bundle: Bundle, data: Path, cache: Path) -> dict[str, Any]:
    """A bundle that shipped before, as it was and behind the colour scaling."""
    how = preparation(bundle.classifier.target)
    run = first_answers(bundle)
    cells = all_cells(data, bundle, how, cache)
    found = measured(cells, run)
    found["own_points"] = own_points(bundle, cells, found.pop("logits"))
    cells = all_cells(data, bundle, replace(how, stain=StainScaling()), cache)
    scaled = _without_logits(measured(cells, run))
    views = _without_logits(measured(cells, lambda batch: eight_views(run, batch)))
    return {BEFORE: found, BEFORE_SCALED: scaled, f"{BEFORE_SCALED}, eight views": views}


def shipped_rows(bundle: Bundle, cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What ships; its first answers alone, where it asks again; eight views of every cell."""
    found = measured(cells, deciding(Classifier(bundle)))
    found["own_points"] = own_points(bundle, cells, found.pop("logits"))
    run, rows = first_answers(bundle), {"ships": found}
    decision = bundle.classifier.decision
    if decision.second_from is not None or decision.flagged_views > 1:
        rows["its first answers"] = _without_logits(measured(cells, run))
    views = measured(cells, lambda batch: eight_views(run, batch))
    return {**rows, "eight views of every cell": _without_logits(views)}


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--before", type=Path, metavar="BUNDLE")
    parser.add_argument("--left-out", action="append", default=[], metavar="LABORATORY=FILE")
    parser.add_argument("--cache", type=Path, default=Path("runs/laboratories"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(given.bundle)
    networks: dict[str, Any] = {}
    if given.before:
        networks |= earlier_rows(read_bundle(given.before), given.data, given.cache)
    cells = all_cells(given.data, bundle, preparation(bundle.classifier.target), given.cache)
    networks |= shipped_rows(bundle, cells)
    figures = {
        "int8_sha256": shipped_sha256(given.bundle),
        "before_int8_sha256": shipped_sha256(given.before) if given.before else None,
        "networks": networks,
        "left_out": left_out_figures(given.left_out, cells, bundle, given.data),
    }
    other = "" if bundle.name == "default" else f"-{bundle.name}"
    command = (
        'python -m benchmarks.cells.laboratories --data "$EDGE_MALARIA_DATA" --before BUNDLE '
        f"--left-out LABORATORY=FILE{'' if other else ',SECOND'}"
        + (f" --bundle edge_malaria/models/{bundle.name}" if other else "")
    )
    path = write_evidence(f"laboratories{other}", command, figures)
    print(f"wrote {path.name}")


def _without_logits(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "logits"}


def left_out_figures(
    entries: list[str], cells: dict[str, dict[str, Any]], bundle: Bundle, data: Path
) -> dict[str, Any]:
    """LABORATORY=FILE[,SECOND] entries -> figures by laboratory; files of two are measured once."""
    files = dict(entry.split("=", 1) for entry in entries)
    known = {
        names: keras_figures(names, cells, bundle, data) for names in dict.fromkeys(files.values())
    }
    return {name: known[names] for name, names in files.items()}


def keras_figures(
    names: str, cells: dict[str, dict[str, Any]], bundle: Bundle, data: Path
) -> dict[str, Any]:
    """Keras networks in float32 on LiteRT in the place of the bundle's."""
    scorer = left_out_scorer(bundle, names, data)
    found = measured(cells, deciding(scorer.classifier))
    return {"keras_sha256": scorer.sha256, **_without_logits(found)}


if __name__ == "__main__":
    main()
