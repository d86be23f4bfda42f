"""How far an exported file may be from what it was made from: the one place of every limit.

The gate, ``selftest`` and docs/PARITY.md take their limits from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Limits:
    """What a pair must hold, by variant of the candidate.

    Attributes:
        max_abs_diff: largest change of a calibrated probability; 1.0 sets no limit.
        sqnr_db: least signal-to-quantization-noise ratio of the logits, dB.
        label_agreement: least share of cells with the same call at the deployed threshold.
        near_agreement: the same among drawn cells close to the threshold.
        golden_lsb: largest change of an integer output against the stored one, in its own steps.
        golden_logit: largest change of a float output against the stored one.
    """

    max_abs_diff: float
    sqnr_db: float
    label_agreement: float
    near_agreement: float
    golden_lsb: int = 4
    golden_logit: float = 1e-3


# float32 engines differ by rounding alone. float16 keeps 11 bits of every weight. The integer
# limits let honest exports pass: the shipped networks give 18.6 to 23 dB and 0.12 to 0.20 on drawn
# cells, five brief retrainings (docs/evidence/parity_false_alarms.json) 18.7 dB and 0.28 at worst,
# while swapped channels, the mildest planted fault of the input, give 11.5 dB and 0.77.
# Golden outputs: another processor's kernels may round otherwise. TFLite's built-in ones, which
# 32-bit ARM runs, are up to 3 steps off XNNPACK's; dynamic files up to 0.08 of a logit.
LIMITS: Mapping[str, Limits] = {
    "float32": Limits(1e-4, 60.0, 0.999, 0.998),
    "float16": Limits(2e-2, 40.0, 0.995, 0.99),
    "dynamic": Limits(0.35, 18.0, 0.98, 0.85, golden_logit=0.25),
    "int8": Limits(0.35, 18.0, 0.98, 0.85),
    "int8-mixed": Limits(0.35, 18.0, 0.98, 0.85),
}


def limits_of(variant: str, limits: Mapping[str, Limits] = LIMITS) -> Limits:
    """The limits of a variant; an unknown one gets those of float32, the strictest."""
    return limits.get(variant, limits["float32"])


@dataclass(frozen=True)
class GoldenDifference:
    """How far a file's outputs are from its stored ones.

    Attributes:
        largest: in output steps for integer outputs, else in logits; infinite where an output is
            no number, or where type or shape are not those stored.
        limit: of ``largest``.
        differing: outputs that are not the same.
        integer: whether the outputs are integers.
    """

    largest: float
    limit: float
    differing: int
    integer: bool

    @property
    def fits(self) -> bool:
        """Within the limit."""
        return bool(self.largest <= self.limit)

    @property
    def texts(self) -> tuple[str, str]:
        """The largest difference and the limit, as a message shows them."""
        if self.integer:
            return f"{self.largest:g} steps", f"<= {self.limit:g} steps"
        return f"{self.largest:.3g}", f"<= {self.limit:g}"


def golden_difference(
    got: NDArray[Any], expected: NDArray[Any], limits: Limits
) -> GoldenDifference:
    """Raw outputs [N] of one file here against those stored when it was exported."""
    integer = expected.dtype.kind in "iu"
    limit = float(limits.golden_lsb if integer else limits.golden_logit)
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return GoldenDifference(float("inf"), limit, len(expected), integer)
    wide = np.int64 if integer else np.float64
    difference = np.abs(got.astype(wide) - expected.astype(wide))
    largest = float(difference.max(initial=0))
    differing = int(np.count_nonzero(~(difference == 0)))
    return GoldenDifference(
        largest if np.isfinite(largest) else float("inf"), limit, differing, integer
    )
