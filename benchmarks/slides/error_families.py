"""How error rates are spread: three families on laboratories left out -> error_families.json.

    python -m benchmarks.slides.error_families [--bundle BUNDLE]

The false calls of each laboratory of the bundle's error record are predicted from the others.
Score: mean ln P(calls on a slide), averaged over the left-out laboratory's slides, then over
laboratories; higher is better. Families: logistic-normal and beta, both in three levels, and a
non-parametric one: a mixture of the other laboratories' own maximum-likelihood mixtures (EM on a
grid), with one part in L + 1 of ignorance. The same within laboratories: each slide from the others
of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import shipped_sha256, write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.slide.beta_binomial import Floats, RateSpread
from edge_malaria.runtime.slide.error_record import ErrorRecord
from edge_malaria.runtime.slide.hierarchy import (
    RATE_LOGITS,
    HierarchicalFit,
    LaboratoryCounts,
    slide_log_score,
)

_RATES: Floats = 1 / (1 + np.exp(-RATE_LOGITS))
_EM_STEPS = 300


def maximum_likelihood(slides: list[tuple[int, int]]) -> Floats:
    """float64 [G]: the mixing weights on the grid of rates that explain some slides best."""
    counts = np.array(slides, np.float64)
    log = counts[:, :1] * np.log(_RATES) + (counts[:, 1:] - counts[:, :1]) * np.log1p(-_RATES)
    likelihood = np.exp(log - log.max(1, keepdims=True))
    weights: Floats = np.full(len(_RATES), 1 / len(_RATES))
    for _ in range(_EM_STEPS):
        share = likelihood * weights
        weights = (share / share.sum(1, keepdims=True)).mean(0)
    return weights


def non_parametric(parts: list[Floats]) -> RateSpread:
    """Equal parts of some mixtures and of ignorance (uniform in the logit)."""
    even = np.full(len(_RATES), 1 / len(_RATES))
    return RateSpread(_RATES, np.mean([*parts, even], axis=0))


def _mean_score(spread: RateSpread, slides: list[tuple[int, int]]) -> float:
    return float(np.mean([slide_log_score(spread, k, n) for k, n in slides]))


def across(labs: list[LaboratoryCounts]) -> dict[str, Any]:
    """Scores of each left-out laboratory by family."""
    scores: dict[str, dict[str, float]] = {}
    parts = {lab.name: maximum_likelihood(list(lab.slides)) for lab in labs}
    fits = {family: HierarchicalFit(labs, family) for family in ("logistic-normal", "beta")}
    for lab in labs:
        spreads = {name: fit.new_laboratory(without=lab.name) for name, fit in fits.items()}
        spreads["non-parametric"] = non_parametric([p for n, p in parts.items() if n != lab.name])
        scores[lab.name] = {k: _mean_score(s, list(lab.slides)) for k, s in spreads.items()}
    return {"laboratories": scores, "mean": _means(scores)}


def within(labs: list[LaboratoryCounts], least: int = 5) -> dict[str, Any]:
    """The same for each slide from the others of its laboratory."""
    scores: dict[str, dict[str, float]] = {}
    for lab in labs:
        if len(lab.slides) < least:
            continue
        others = [other for other in labs if other.name != lab.name]
        fits = {family: HierarchicalFit(others, family) for family in ("logistic-normal", "beta")}
        found: dict[str, list[float]] = {name: [] for name in (*fits, "non-parametric")}
        for place, (k, n) in enumerate(lab.slides):
            rest = [slide for index, slide in enumerate(lab.slides) if index != place]
            own = LaboratoryCounts("own", tuple(rest))
            for name, fit in fits.items():
                found[name].append(slide_log_score(fit.extended(own).of("own"), k, n))
            spread = non_parametric([maximum_likelihood(rest)] * len(rest))
            found["non-parametric"].append(slide_log_score(spread, k, n))
        scores[lab.name] = {name: float(np.mean(values)) for name, values in found.items()}
    return {"laboratories": scores, "mean": _means(scores)}


def _means(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    names = next(iter(scores.values()))
    return {name: float(np.mean([row[name] for row in scores.values()])) for name in names}


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    record = ErrorRecord.from_json(bundle.classifier.decision.error_model or {})
    figures: dict[str, Any] = {"classifier_sha256": shipped_sha256(options.bundle)}
    for point in ("screening", "balanced"):
        place = record.place(bundle.classifier.threshold(point))
        labs = [lab.counts(place) for lab in record.healthy]
        figures[point] = {
            "called": {
                lab.name: {
                    "slides": len(lab.slides),
                    "cells": lab.cells,
                    "share": sum(k for k, _ in lab.slides) / lab.cells,
                }
                for lab in labs
            },
            "laboratory_left_out": across(labs),
            "slide_left_out": within(labs),
        }
        print(point, figures[point]["laboratory_left_out"]["mean"])
        print(point, figures[point]["slide_left_out"]["mean"])
    if not options.dry:
        write_evidence("error_families", "python -m benchmarks.slides.error_families", figures)


if __name__ == "__main__":
    main()
