"""Whose calls decide: those on drawn cells, or those on labelled ones.

A network of somebody else was made for that author's cells, and one that was trained by a study's
published protocol saw nothing but its study's cells. On drawn ones either may be sure of
everything, or answer wildly; neither says how its exported files call real cells. So where enough
labelled cells lie near the threshold, they decide, and drawn ones are compared and shown only. The
limits are the same, and the labelled cells near the threshold are held to theirs as well. Where
there are too few, drawn cells decide as for networks trained by this project's recipe.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import NEAR_LOGITS
from edge_malaria.parity.findings import Failure, Settings
from edge_malaria.parity.numeric import Cells, Outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.runtime.classify.classifier import Decision

# What stands under ``protocol`` in the provenance of a network trained by its study's protocol.
PUBLISHED_PROTOCOL = "published"


def near_threshold(logits: NDArray[np.float32], decision: Decision) -> NDArray[np.bool_]:
    """Which cells lie within ``NEAR_LOGITS`` of the threshold; logits [N] -> bool [N]."""
    odds = math.log(decision.threshold / (1.0 - decision.threshold))
    turn = odds * decision.temperature - decision.bias
    return np.asarray(np.abs(logits - turn) <= NEAR_LOGITS, np.bool_)


def least_near(settings: Settings) -> int:
    """Fewest cells near the threshold that show whether enough of them are called alike.

    With none of n calls changed, the upper 95 % bound of the share changed is 3 / n.
    """
    return math.ceil(3.0 / (1.0 - settings.limits_of("int8").near_agreement) - 1e-9)


def is_foreign(subject: Subject) -> bool:
    """Whether the network was made for other cells than this project's, drawn ones among them.

    Its bundle then records a contract (somebody else's network) or a published protocol.
    """
    provenance = subject.bundle.record.get("provenance")
    return isinstance(provenance, dict) and (
        "contract" in provenance or provenance.get("protocol") == PUBLISHED_PROTOCOL
    )


def labelled_decide(subject: Subject, cells: Cells | None, reference: Outputs | None) -> bool:
    """Whether labelled cells decide in place of drawn ones.

    Args:
        subject: the bundle.
        cells: labelled ones; None where no data set was given. Then the record of the export says
            whether labelled cells decided there.
        reference: what the reference said of them.
    """
    if not is_foreign(subject):
        return False
    if cells is None or cells.truth is None or reference is None:
        gate = subject.spec.record.get("gate")
        return isinstance(gate, dict) and gate.get("drawn_decide") is False
    near = near_threshold(reference.logits, subject.decision)
    return enough_labelled(cells.truth, near, subject.settings)


def enough_labelled(truth: NDArray[np.bool_], near: NDArray[np.bool_], settings: Settings) -> bool:
    """Whether cells of this truth, of which these lie near the threshold, can decide; bool [N]."""
    sick = int(np.count_nonzero(truth))
    enough = min(sick, len(truth) - sick) >= settings.min_cells
    return enough and int(np.count_nonzero(near)) >= least_near(settings)


def near_failures(
    subject: Subject, cells: Cells, reference: Outputs, outputs: dict[str, Outputs]
) -> tuple[Failure, ...]:
    """Calls of labelled cells near the threshold, where these decide."""
    decision, found = subject.decision, []
    near = near_threshold(reference.logits, decision)
    calls = decision.probabilities(reference.decides) >= decision.threshold
    for name, one in outputs.items():
        if name == reference.name:
            continue
        p, least = (
            decision.probabilities(one.decides),
            subject.settings.limits_of(one.variant).near_agreement,
        )
        same = ((p >= decision.threshold) == calls) & np.isfinite(p)
        share = float(same[near].mean())
        if not (share >= least):
            what = f"same call on {int(near.sum())} {cells.evidence} cells (near the threshold)"
            against = f"that of {reference.name}"
            found.append(
                Failure("statistics", name, what, f"{share:.2%}", against, f">= {least:.2%}")
            )
    return tuple(found)
