"""Whose calls decide: those on drawn cells, or those on labelled ones.

A network of somebody else was made for that author's cells, and one that was trained by a study's
published protocol saw nothing but its study's cells. On drawn ones either may be sure of
everything, or answer wildly; neither says how its exported files call real cells. So where enough
labelled cells lie near the threshold, they decide, and drawn ones are compared and shown only. The
limits are the same, and the labelled cells near the threshold are held to theirs as well. Where
there are too few, drawn cells decide as for networks trained by this project's recipe.

Near means where the network may be wrong. One logit says that of a network whose probabilities are
true. A tutorial's network, trained on pixels of 0 to 255, gives logits of thousands and is as often
wrong at a hundred as another one at a half: its logits are first divided by the temperature that
makes its probabilities true on the labelled cells (Guo et al. 2017, arXiv 1706.04599).

Changes of a probability are held to their limit at the same temperature. That limit is one of
calibrated probabilities, as this project's own networks give them. A network that says 0 or 1 of
nearly every cell is not calibrated. There rounding moves the one cell in between by a half, which
says nothing of its calls; and a logit that falls from 5,000 to 50 moves no probability, although
the file has become unsure of that cell. At the temperature the first passes and the second is seen.
Calls, changes of sensitivity and specificity and the noise of the logits are held to their limits
as they are, at no temperature.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import NEAR_LOGITS
from edge_malaria.parity.findings import Failure, Settings
from edge_malaria.parity.numeric import Cells, Outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.runtime.classify.classifier import Decision

# What stands under ``protocol`` in the provenance of a network trained by its study's protocol.
PUBLISHED_PROTOCOL = "published"


# 1 / temperature is sought between this and 1: logits up to some hundred thousand.
_LEAST_SLOPE = 1e-6


def distance(logits: NDArray[np.float32], decision: Decision) -> NDArray[np.float64]:
    """How far logits float32 [N] lie above the threshold; float64 [N]."""
    odds = math.log(decision.threshold / (1.0 - decision.threshold))
    return logits.astype(np.float64) - (odds * decision.temperature - decision.bias)


def sureness(far: NDArray[np.float64], truth: NDArray[np.bool_], settings: Settings) -> float:
    """By what a network's logits are divided before they are called near, or compared.

    Args:
        far: float64 [N], the reference's logits less that of the threshold.
        truth: bool [N]: parasitized.
        settings: how many cells near the threshold are enough.

    Returns:
        1.0 where enough cells lie within ``NEAR_LOGITS``; else the temperature that fits the
        labels, which is at least 1.
    """
    if int(np.count_nonzero(np.abs(far) <= NEAR_LOGITS)) >= least_near(settings):
        return 1.0
    return fitted_temperature(far, truth)


def near_threshold(
    far: NDArray[np.float64], truth: NDArray[np.bool_], settings: Settings
) -> NDArray[np.bool_]:
    """Which labelled cells lie near the threshold: bool [N], see ``sureness``."""
    return np.asarray(np.abs(far) <= NEAR_LOGITS * sureness(far, truth, settings), np.bool_)


def compared_as_sure(subject: Subject, cells: Cells, reference: Outputs) -> Cells:
    """The labelled cells, where these decide, with the temperature of their comparison."""
    assert cells.truth is not None
    far = distance(reference.logits, subject.decision)
    return replace(cells, temperature=sureness(far, cells.truth, subject.settings))


def fitted_temperature(logits: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """The T >= 1 that makes the labels most likely under sigmoid(logits / T); float64, bool [N]."""
    if not np.isfinite(logits).all():
        return 1.0

    def excess(slope: float) -> float:
        """The likelihood's derivative by 1 / T, its sign turned; it rises with ``slope``."""
        chance = 0.5 * (1.0 + np.tanh(0.5 * slope * logits))
        return float(((chance - truth) * logits).sum())

    low, high = _LEAST_SLOPE, 1.0
    # Sure enough already; or no temperature fits, because the logits do not rise with the label.
    if excess(high) <= 0.0 or excess(low) > 0.0:
        return 1.0
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if excess(middle) > 0.0 else (middle, high)
    return 1.0 / high


def least_near(settings: Settings) -> int:
    """Fewest cells near the threshold that show whether enough of them are called alike.

    With none of n calls changed, the upper 95 % bound of the share changed is 3 / n.
    """
    return math.ceil(3.0 / (1.0 - settings.limits_of("int8").near_agreement) - 1e-9)


def is_foreign(subject: Subject) -> bool:
    """Whether the network was made for other cells than this project's, drawn ones among them.

    Its bundle then records a contract (somebody else's network, which may have been pruned here) or
    a published protocol.
    """
    provenance = subject.bundle.record.get("provenance")
    return isinstance(provenance, dict) and (
        "contract" in provenance
        or "pruned_from" in provenance
        or provenance.get("protocol") == PUBLISHED_PROTOCOL
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
    far = distance(reference.logits, subject.decision)
    near = near_threshold(far, cells.truth, subject.settings)
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
    assert cells.truth is not None
    near = near_threshold(distance(reference.logits, decision), cells.truth, subject.settings)
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
