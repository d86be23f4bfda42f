"""How far two models' outputs on the same cells are apart, and what that does to the calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria import metrics
from edge_malaria.parity.findings import Failure, Flip, Pair, Settings
from edge_malaria.records import Image, expect
from edge_malaria.runtime.classify.classifier import Decision, probability


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one model gave on some cells.

    Attributes:
        name: ``keras`` or ``engine.variant``.
        raw: [N] in the file's own dtype.
        logits: float32 [N], dequantized.
        step: the output's quantization step in logits; 0.0 for float.
        settled: float32 [N], the logits that decide, where the bundle asks cells again;
            None where ``logits`` do.
    """

    name: str
    raw: NDArray[Any]
    logits: NDArray[np.float32]
    step: float = 0.0
    settled: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        expect(self.raw.ndim == 1, "raw outputs of shape [N]", self.raw.shape)
        expect(self.raw.shape == self.logits.shape, f"logits {self.raw.shape}", self.logits.shape)
        expect(
            self.decides.shape == self.raw.shape, f"settled {self.raw.shape}", self.decides.shape
        )

    @property
    def variant(self) -> str:
        """``int8`` of ``litert.int8``; ``float32`` for Keras."""
        return self.name.partition(".")[2] or "float32"

    @property
    def decides(self) -> NDArray[np.float32]:
        """float32 [N]: the logits that calls are made from."""
        return self.logits if self.settled is None else self.settled

    def rows(self, chosen: Any) -> Outputs:
        """The outputs of some of the cells."""
        settled = None if self.settled is None else self.settled[chosen]
        return replace(self, raw=self.raw[chosen], logits=self.logits[chosen], settled=settled)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells that a comparison is made on.

    Attributes:
        evidence: ``drawn``, or the split of a data set.
        inputs: uint8 [N, S, S, 3], for the pictures of flipped cells.
        near: bool [N] close to the threshold (drawn cells), or None.
        truth: 0/1 [N], or None where no label may be used.
        patients: [N], or None where unknown: then every cell counts as its own patient.
        names: of the cells, or None for drawn ones.
        decide: whether their calls and probabilities decide; else only that outputs are numbers.
        temperature: least one at which probabilities are compared. Above 1 of a network that is
            surer than its labels allow; see ``judges``. Calls are made without it.
    """

    evidence: str
    inputs: Image
    near: NDArray[np.bool_] | None = None
    truth: NDArray[np.bool_] | None = None
    patients: NDArray[Any] | None = None
    names: Sequence[str] | None = None
    decide: bool = True
    temperature: float = 1.0

    def __post_init__(self) -> None:
        expect(self.temperature >= 1.0, "a temperature of at least 1", self.temperature)

    def name(self, index: int) -> str:
        """What a report calls a cell."""
        return f"{self.evidence} cell {index}" if self.names is None else self.names[index]


def sqnr_db(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    """Signal-to-quantization-noise ratio in dB: variance of the reference over mean square error.

    ``inf`` where nothing differs, NaN where an output is not finite.
    """
    signal = reference.astype(np.float64)
    noise = float(np.mean((candidate.astype(np.float64) - signal) ** 2))
    if not (np.isfinite(noise) and np.isfinite(signal).all()):
        return math.nan
    if noise == 0.0:
        return math.inf
    power = float(np.var(signal))
    return 10.0 * math.log10(power / noise) if power > 0.0 else -math.inf


def bit_identical(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether two outputs have the same type and the same bits."""
    return first.dtype == second.dtype and first.tobytes() == second.tobytes()


def lsb_histogram(first: NDArray[Any], second: NDArray[Any]) -> dict[int, int] | None:
    """Difference in output steps -> cells; None unless both outputs are integers."""
    if first.dtype.kind not in "iu" or second.dtype.kind not in "iu":
        return None
    steps, counts = np.unique(second.astype(np.int64) - first.astype(np.int64), return_counts=True)
    return {int(step): int(count) for step, count in zip(steps, counts, strict=True)}


def _flips(
    cells: Cells, p: NDArray[np.float64], q: NDArray[np.float64], rows: NDArray[np.intp]
) -> tuple[Flip, ...]:
    return tuple(
        Flip(
            int(row),
            cells.name(int(row)),
            None if cells.truth is None else int(cells.truth[row]),
            float(p[row]),
            float(q[row]),
            cells.inputs[row],
        )
        for row in rows
    )


def _difference(
    first: NDArray[np.float32], second: NDArray[np.float32], cells: Cells, decision: Decision
) -> NDArray[np.float64]:
    """How far calibrated probabilities of logits [N] are apart; float64 [N]."""
    temperature = max(decision.temperature, cells.temperature)
    p, q = (probability(logits, temperature, decision.bias) for logits in (first, second))
    return np.abs(p - q)


def compare_outputs(
    reference: Outputs, candidate: Outputs, cells: Cells, decision: Decision, settings: Settings
) -> Pair:
    """Compares two models on the same cells and lists everything that exceeds the limits.

    Differences are those of the first answers; calls are what the bundle decides, also where it
    asks cells again.
    """
    n = len(cells.inputs)
    expect(len(reference.raw) == len(candidate.raw) == n, f"{n} outputs", len(candidate.raw))
    difference = _difference(reference.logits, candidate.logits, cells, decision)
    p, q = decision.probabilities(reference.decides), decision.probabilities(candidate.decides)
    # A NaN probability is >= nothing, so it would count as an ordinary "uninfected".
    calls = [values >= decision.threshold for values in (p, q)]
    flipped = np.flatnonzero((calls[0] != calls[1]) | ~np.isfinite(q) | ~np.isfinite(p))
    noise = sqnr_db(reference.logits, candidate.logits) if n else math.nan
    pair = Pair(
        reference=reference.name,
        candidate=candidate.name,
        evidence=cells.evidence,
        n=n,
        max_abs_diff=float(difference.max()) if n else math.nan,
        mean_abs_diff=float(difference.mean()) if n else math.nan,
        sqnr_db=noise,
        label_agreement=1.0 - len(flipped) / n if n else math.nan,
        flips=len(flipped),
        mcnemar_p=_mcnemar(calls, cells.truth),
        bit_identical=bit_identical(reference.raw, candidate.raw),
        lsb_histogram=lsb_histogram(reference.raw, candidate.raw),
        flipped=_flips(cells, p, q, flipped),
    )
    failures = _numeric_failures(pair, reference, candidate, cells, settings)
    if cells.truth is not None and n:
        pair = _with_changes(pair, calls, cells, settings)
        failures += _statistical_failures(pair, cells, settings)
    return replace(pair, failures=tuple(failures))


def _mcnemar(calls: list[NDArray[np.bool_]], truth: NDArray[np.bool_] | None) -> float:
    first, second = calls if truth is None else [call == truth for call in calls]
    return metrics.mcnemar_exact(
        int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))
    )


def _agreement(pair: Pair, cells: Cells, near: bool) -> tuple[float, int]:
    """(share of cells with the same call, cells) among those near or not near the threshold."""
    if cells.near is None:
        return (math.nan, 0) if near else (pair.label_agreement, pair.n)
    chosen = cells.near == near
    count = int(np.count_nonzero(chosen))
    if not count:
        return math.nan, 0
    return 1.0 - sum(bool(chosen[flip.row]) for flip in pair.flipped) / count, count


def _rounding(reference: Outputs) -> float:
    """What two float32 steps of the largest logit change of a probability, at most.

    Sums of so large numbers differ by that between engines that round in another order. A step at
    8,000 is 0.0005, so a probability of one half changes by 0.0001; at 100 it is nothing.
    """
    return 0.25 * 2 * float(np.spacing(np.float32(np.abs(reference.logits).max(initial=0.0))))


def _numeric_failures(
    pair: Pair, reference: Outputs, candidate: Outputs, cells: Cells, settings: Settings
) -> list[Failure]:
    stage = "tensors" if cells.truth is None else "statistics"
    subject = candidate.name
    limits = settings.limits_of(candidate.variant)
    if not pair.n:
        return [Failure(stage, subject, "cells compared", "0", "at least 1", "1")]
    bad = int(np.count_nonzero(~np.isfinite(candidate.logits)))
    bad_reference = int(np.count_nonzero(~np.isfinite(reference.logits)))
    found = []
    if bad or bad_reference:
        who = subject if bad else reference.name
        got = f"{bad or bad_reference} of {pair.n} that are NaN or infinite"
        found.append(Failure(stage, who, "logits", got, "finite numbers", "0"))
    if not cells.decide:
        return found
    against = f"that of {pair.reference}"
    most = max(limits.max_abs_diff, _rounding(reference) / cells.temperature)
    if not (pair.max_abs_diff <= most):
        calm = f" at temperature {cells.temperature:.4g}" if cells.temperature > 1.0 else ""
        what = f"largest change of a probability{calm} ({cells.evidence} cells)"
        got, limit = f"{pair.max_abs_diff:.3g}", f"<= {most:.3g}"
        found.append(Failure(stage, subject, what, got, against, limit))
    noise = math.nan if pair.sqnr_db is None else pair.sqnr_db
    if not (noise >= limits.sqnr_db):
        what = f"SQNR of the logits ({cells.evidence} cells)"
        got = f"{noise:.1f} dB"
        found.append(Failure(stage, subject, what, got, against, f">= {limits.sqnr_db:g} dB"))
    for near, least in ((False, limits.label_agreement), (True, limits.near_agreement)):
        share, count = _agreement(pair, cells, near)
        if count and not (share >= least):
            where = "near the threshold" if near else "of all" if cells.near is None else "others"
            what = f"same call on {count} {cells.evidence} cells ({where})"
            limit = f">= {least:.2%}"
            found.append(Failure(stage, subject, what, f"{share:.2%}", against, limit))
    return found


def _with_changes(
    pair: Pair, calls: list[NDArray[np.bool_]], cells: Cells, settings: Settings
) -> Pair:
    """Adds the changes of sensitivity and specificity with intervals over patients."""
    truth = np.asarray(cells.truth, bool)
    patients = np.arange(pair.n) if cells.patients is None else cells.patients
    gain = calls[1].astype(np.float64) - calls[0].astype(np.float64)
    values: dict[str, Any] = {}
    for rate, signed, chosen in (
        ("sensitivity", gain * truth, truth),
        ("specificity", -gain * ~truth, ~truth),
    ):
        count = int(chosen.sum())
        values[f"delta_{rate}"] = float(signed.sum() / count) if count else None
        values[f"delta_{rate}_ci95"] = metrics.bootstrap_ratio(
            signed, chosen, patients, resamples=settings.resamples, seed=settings.seed
        )
    return replace(pair, **values)


def _statistical_failures(pair: Pair, cells: Cells, settings: Settings) -> list[Failure]:
    truth = np.asarray(cells.truth, bool)
    found = []
    for word, count, interval, rate in (
        ("parasitized", int(truth.sum()), pair.delta_sensitivity_ci95, "sensitivity"),
        ("uninfected", int((~truth).sum()), pair.delta_specificity_ci95, "specificity"),
    ):
        if not (count >= settings.min_cells):
            cause = (
                f"too few cells to show a change below {settings.delta:.1%}; "
                "give more cells or a larger --delta"
            )
            least = str(settings.min_cells)
            what = f"{word} cells in {cells.evidence}"
            found.append(
                Failure("statistics", pair.candidate, what, str(count), f">= {least}", least, cause)
            )
        low = math.nan if interval is None else interval[0]
        if not (low > -settings.delta):
            what = f"lower 95 % bound of the change of {rate} ({cells.evidence} cells)"
            limit = f"> {-settings.delta:+.2%}"
            expected = f"no worse than {pair.reference}"
            found.append(
                Failure("statistics", pair.candidate, what, f"{low:+.2%}", expected, limit)
            )
    return found
