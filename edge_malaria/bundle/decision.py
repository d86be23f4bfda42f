"""What a bundle records of how a model's logit becomes a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_malaria.records import expect


@dataclass(frozen=True, eq=False)
class DecisionRecord:
    """The ``decision`` of a model in bundle.json; a finder's is empty.

    Attributes:
        temperature, bias: probability = sigmoid((logit + bias) / temperature).
        thresholds: operating point -> the probability from which a cell is positive, in (0, 1).
        unsure_between: probabilities between which the classifier abstains; None for nowhere.
        not_a_red_cell: the fit of ``classify.abstain``; None where it was not fitted.
        false_positives: the measured errors of one laboratory (``slide.error_rates``), or None.
        error_model: the measured errors of several laboratories, or None.
        flagged_views: how many views of a cell at or above the balanced point decide together: 8,
            or 1 where the first answer does (``runtime.classify.flagged_views``).
        second_from: probability from which on the bundle's second network decides
            (``runtime.classify.second_network``); None where it has none.
    """

    temperature: float = 1.0
    bias: float = 0.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    unsure_between: tuple[float, float] | None = None
    not_a_red_cell: Mapping[str, Any] | None = None
    false_positives: Mapping[str, Any] | None = None
    error_model: Mapping[str, Any] | None = None
    flagged_views: int = 1
    second_from: float | None = None

    def __post_init__(self) -> None:
        expect(self.temperature > 0, "a temperature above 0", self.temperature)
        inside = all(0 < value < 1 for value in self.thresholds.values())
        expect(inside, "thresholds in (0, 1)", dict(self.thresholds))
        expect(self.flagged_views in (1, 8), "1 or 8 views", self.flagged_views)
        known = self.flagged_views == 1 or "balanced" in self.thresholds
        expect(known, "a balanced point where cells are asked again", dict(self.thresholds))
        if self.second_from is not None:
            expect(self.flagged_views == 1, "one view beside a second network", self.flagged_views)
            expect(0.0 < self.second_from < 1.0, "second_from in (0, 1)", self.second_from)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DecisionRecord:
        """Reads the JSON object; ``bundle.index`` has checked its types and ranges.

        Raises:
            ValueError, KeyError, TypeError: not a decision.
        """
        abstention = value.get("abstention") or {}
        between = abstention.get("p_between")
        points = value.get("operating_points", {})
        return cls(
            float(value.get("temperature", 1.0)),
            float(value.get("bias", 0.0)),
            {name: float(point["threshold"]) for name, point in points.items()},
            None if between is None else (float(between[0]), float(between[1])),
            abstention.get("not_a_red_cell") or None,
            value.get("false_positives") or None,
            value.get("error_model") or None,
            int(value.get("flagged_views", 1)),
            float(value["second"]["from"]) if value.get("second") else None,
        )
