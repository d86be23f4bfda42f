"""When a slide looks unlike those of the fit -> docs/evidence/doubtful_limits.json.

    python -m benchmarks.slides.doubtful_limits --data DATA --run CROSSFIT_RUN [--write]

A slide is unlike those of the fit where more than doubtful_base + max_doubtful x positives of its
cells lie between ``doubtful_from`` and the screening threshold. Both limits come from train and
validation patients, each by a network that had not seen the patient (--run: a cross-fitted run
over these splits; without it the validation patients of the shipped bundle alone):

- doubtful_base: the share of doubtful cells that 99 of 100 healthy patients stay below, by a
  beta-binomial fit to the patients (its own uncertainty included), rounded up to 0.01;
- max_doubtful: doubtful per positive cell that 90 of 100 infected patients' parasitized cells stay
  below, rounded up to 0.1 and at least 1.

The screening threshold of the cross-fitted networks is chosen as for the bundle, at the same share
of false positives. --write puts both limits into edge_malaria/runtime/screen/quality.toml and the
defaults of ``VerdictRules``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import ROOT, shipped_sha256, write_evidence
from benchmarks.slides.patient_scores import (
    Scores,
    bundle_scores,
    crossfit_scores,
    crossval_scores,
)
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.slide.beta_binomial import fit_rates
from edge_malaria.runtime.slide.statistics import VerdictRules, choose_screening_threshold
from edge_malaria.training.classifier.cross_fitted import SCREENING_FALSE_POSITIVES

# Of healthy patients that stay below ``doubtful_base``, of infected ones below ``max_doubtful``.
HEALTHY_SHARE, INFECTED_SHARE = 0.99, 0.9
# A patient's ratio means something from so many parasitized cells on.
LEAST_PARASITIZED = 20
RUNTIME = ROOT / "edge_malaria" / "runtime"
TARGETS = {
    RUNTIME / "screen" / "quality.toml": r"(?m)^({name} = )[0-9.]+$",
    RUNTIME / "slide" / "counts.py": r"(?m)^(    {name}: float = )[0-9.]+$",
}


def doubtful(p: NDArray[np.float64], low: float, threshold: float) -> int:
    """How many probabilities lie from ``low`` to below ``threshold``."""
    return int(((p >= low) & (p < threshold)).sum())


def limits(healthy: Scores, infected: Scores, threshold: float, low: float) -> dict[str, Any]:
    """Both limits and what they rest on."""
    counts = [(doubtful(p, low, threshold), len(p)) for p in healthy.values()]
    spread = fit_rates(counts).spread()
    base = spread.quantile(HEALTHY_SHARE)
    many = [p for p in infected.values() if len(p) >= LEAST_PARASITIZED]
    ratios = [doubtful(p, low, threshold) / max(int((p >= threshold).sum()), 1) for p in many]
    most = float(np.quantile(ratios, INFECTED_SHARE))
    shares = [k / n for k, n in counts]
    return {
        "doubtful_from": low,
        "threshold": threshold,
        "healthy_patients": len(counts),
        "healthy_share": {"mean": float(np.mean(shares)), "largest": max(shares)},
        "healthy_quantile": base,
        "infected_patients": len(ratios),
        "doubtful_per_positive": {
            "median": float(np.median(ratios)),
            "quantile": most,
            "largest": max(ratios),
        },
        "doubtful_base": float(np.ceil(100 * base) / 100),
        "max_doubtful": max(1.0, float(np.ceil(10 * most) / 10)),
    }


def write_limits(found: dict[str, Any]) -> None:
    """Puts the limits where the defaults stand."""
    for path, pattern in TARGETS.items():
        text = path.read_text(encoding="utf-8")
        for name in ("doubtful_base", "max_doubtful"):
            text, times = re.subn(
                pattern.format(name=name), rf"\g<1>{found[name]!r}", text, count=1
            )
            if times != 1:
                raise SystemExit(f"{path.name} does not set {name} as expected.")
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Measures, and writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_bundle())
    parser.add_argument("--run", type=Path, help="a cross-fitted run over train and val")
    parser.add_argument("--write", action="store_true", help="set the defaults, too")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    bundle, low = read_bundle(options.bundle), VerdictRules().doubtful_from
    if options.run:
        if (options.run / "crossfit.npz").is_file():
            healthy, infected = crossfit_scores(options.run)
        else:
            healthy, infected = crossval_scores(options.run, options.data, {"train", "val"})
        names = [name for name, p in healthy.items() for _ in p]
        threshold = choose_screening_threshold(
            np.concatenate(list(healthy.values())), names, SCREENING_FALSE_POSITIVES
        )
        whose = "train and val patients, cross-fitted"
    else:
        healthy, infected = bundle_scores(bundle, options.data, ("val",))
        threshold, whose = bundle.classifier.threshold("screening"), "val patients"
    found = limits(healthy, infected, threshold, low)
    figures = {
        "classifier_sha256": shipped_sha256(options.bundle),
        "cells_of": whose,
        **found,
        "before": {
            "doubtful_base": VerdictRules().doubtful_base,
            "max_doubtful": VerdictRules().max_doubtful,
        },
    }
    for key, value in figures.items():
        print(key, value)
    if options.dry:
        return
    command = "python -m benchmarks.slides.doubtful_limits --data DATA"
    write_evidence("doubtful_limits", command + (" --run RUN" if options.run else ""), figures)
    if options.write:
        write_limits(found)


if __name__ == "__main__":
    main()
