"""Rates, intervals and tests of a two-class classifier; numpy only.

Truth is 1 (parasitized) or 0 (uninfected); rates are fractions (0-1). A rate whose denominator is
zero is None, never 0 and never NaN. Scores that are not finite are refused with ValueError: a NaN
compares as "not parasitized" and would pass for a good specificity.
"""

from __future__ import annotations

from edge_malaria.metrics.agreement import (
    cohen_kappa,
    fleiss_kappa,
)
from edge_malaria.metrics.bootstrap import (
    bootstrap_auc,
    bootstrap_rates,
    bootstrap_ratio,
)
from edge_malaria.metrics.intervals import (
    clopper_pearson_interval,
    fisher_exact,
    incomplete_beta,
    mcnemar_exact,
    wilson_interval,
)
from edge_malaria.metrics.rates import (
    RATE_NAMES,
    Confusion,
    auc,
    confusion,
    expected_calibration_error,
    roc_curve,
    sensitivity_at_specificity,
)

__all__ = [
    "RATE_NAMES",
    "Confusion",
    "auc",
    "bootstrap_auc",
    "bootstrap_rates",
    "bootstrap_ratio",
    "clopper_pearson_interval",
    "cohen_kappa",
    "confusion",
    "expected_calibration_error",
    "fisher_exact",
    "fleiss_kappa",
    "incomplete_beta",
    "mcnemar_exact",
    "roc_curve",
    "sensitivity_at_specificity",
    "wilson_interval",
]
