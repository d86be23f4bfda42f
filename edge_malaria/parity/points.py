"""The calls at a bundle's other operating points: ``screen`` decides at another than ``classify``.

A file may call like its reference at the balanced threshold and not at the screening one. The
other points are held to the same shares of equal calls; what labels say of them is asked with
``--operating-point``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_malaria.bundle.golden import NEAR_LOGITS
from edge_malaria.bundle.limits import Limits
from edge_malaria.bundle.spec import ModelSpec
from edge_malaria.parity.findings import Failure, Pair, Settings
from edge_malaria.parity.numeric import Cells, Outputs
from edge_malaria.runtime.classify.classifier import Decision


def other_points(spec: ModelSpec, settings: Settings) -> dict[str, Decision]:
    """Name -> decision of every operating point but the one that the settings name."""
    names = spec.decision.thresholds
    return {
        name: Decision(spec, spec.threshold(name))
        for name in names
        if name != settings.operating_point
    }


def with_points(
    pair: Pair,
    reference: Outputs,
    candidate: Outputs,
    cells: Cells,
    points: dict[str, Decision],
    settings: Settings,
) -> Pair:
    """The pair with a failure for each point at which too few calls are the same."""
    limits = settings.limits_of(candidate.variant)
    found: list[Failure] = []
    for name, decision in points.items():
        found += _failures(name, decision, reference, candidate, cells, limits)
    return replace(pair, failures=(*pair.failures, *found))


def _failures(
    point: str,
    decision: Decision,
    reference: Outputs,
    candidate: Outputs,
    cells: Cells,
    limits: Limits,
) -> list[Failure]:
    p, q = (decision.probabilities(outputs.decides) for outputs in (reference, candidate))
    # NaN is >= nothing, so it would count as an ordinary "uninfected".
    same = ((p >= decision.threshold) == (q >= decision.threshold)) & np.isfinite(p + q)
    near = np.zeros(len(same), np.bool_)
    if cells.near is not None:
        odds = np.log(decision.threshold / (1.0 - decision.threshold))
        turn = odds * decision.temperature - decision.bias
        near = cells.near | (np.abs(reference.logits - turn) <= NEAR_LOGITS)
    stage = "tensors" if cells.truth is None else "statistics"
    found = []
    for chosen, least, where in (
        (~near, limits.label_agreement, "others" if near.any() else "of all"),
        (near, limits.near_agreement, "near a threshold"),
    ):
        count = int(np.count_nonzero(chosen))
        share = float(np.count_nonzero(same & chosen)) / count if count else 1.0
        if not (share >= least):
            what = f"same call at {point} on {count} {cells.evidence} cells ({where})"
            against, limit = f"that of {reference.name}", f">= {least:.2%}"
            found.append(Failure(stage, candidate.name, what, f"{share:.2%}", against, limit))
    return found
