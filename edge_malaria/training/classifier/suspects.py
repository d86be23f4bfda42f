"""A trained network's figures on its val patients, with and without suspect labels.

The headline counts every cell; the figures without those on the list of suspect labels stand
beside it and never replace it.
"""

from __future__ import annotations

from typing import Any

from edge_malaria.metrics import auc, confusion
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.fit import predict


def val_figures(
    model: Any, decision: dict[str, Any], val: CellSet, operating_point: str = "balanced"
) -> dict[str, Any]:
    """Rates of ``model`` on ``val`` at its own threshold.

    Args:
        model: float32 [N, S, S, 3] in 0-255 -> logit [N, 1].
        decision: what training chose: temperature, bias, operating points.
        val: validation cells.
        operating_point: balanced or screening.

    Returns:
        ``n``, every rate and ``auc`` over all cells, and under ``without_suspect_labels`` the same
        without suspect labels.
    """
    logits = predict(model, val.inputs)
    chances = probability(logits, float(decision["temperature"]), float(decision["bias"]))
    called = chances >= float(decision["operating_points"][operating_point]["threshold"])
    sound = ~val.suspect

    def rates(kept: Any) -> dict[str, Any]:
        table = confusion(val.labels[kept], called[kept])
        return {"n": table.n, **table.rates(), "auc": auc(val.labels[kept], chances[kept])}

    return {**rates(sound | ~sound), "without_suspect_labels": rates(sound)}
