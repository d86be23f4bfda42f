"""What an export starts from: a model of this project, or one of somebody else.

``<name>.json`` beside this project's ``<name>.keras`` holds ``decision`` (temperature, bias,
operating points, abstention, false positives), ``provenance`` and, where the network was trained
behind the slide's colour scaling, ``preprocessing`` (``steps`` and ``stain``); training writes it.
A file that comes alone gets the plain decision: probability 0.5. A model of somebody else goes
through ``importers``, which completes its contract and rebuilds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.export.importers.contract import Contract
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.stain import StainScaling
from edge_malaria.runtime.classify.second_network import on_first_scale

if TYPE_CHECKING:
    from converters.keras_engine import KerasEngine

PLAIN_DECISION: dict[str, Any] = {
    "temperature": 1.0,
    "bias": 0.0,
    "operating_points": {
        "balanced": {"threshold": 0.5, "chosen": "default, not fitted"},
        "screening": {"threshold": 0.5, "chosen": "default, not fitted"},
    },
}


@dataclass(frozen=True, eq=False)
class Source:
    """A loaded model, ready to convert.

    Attributes:
        name: the file's stem.
        quantized: the Keras model as stored, with its ranges where it has them.
        plain: the same network in float, without ranges: the reference.
        size_px: S of the S x S x 3 input.
        weights: number of weights of ``plain``.
        has_ranges: whether int8 ranges travel in the model.
        decision, provenance, measured: of the JSON beside the file.
        finder: the cell finder's .keras file, where the model ships with one.
        second: the network that is asked about possible cells, where the model has one.
        stain: the slide's colour scaling that the network was trained behind; None for none.
        contract: of a model of somebody else.
        notes: what a user should know about it.
    """

    name: str
    quantized: Any
    plain: Any
    size_px: int
    weights: int
    has_ranges: bool
    decision: dict[str, Any]
    provenance: dict[str, Any]
    measured: dict[str, Any]
    finder: Path | None
    stain: StainScaling | None = None
    contract: Contract | None = None
    notes: tuple[str, ...] = ()
    second: Source | None = None

    @property
    def target(self) -> Preparation:
        """The way from a crop to the network's input."""
        if self.contract is not None:
            return self.contract.preparation
        return Preparation(self.size_px, stain=self.stain)

    @property
    def preprocessing(self) -> dict[str, object]:
        """The bundle's preprocessing contract, with the steps that lie inside the network."""
        from edge_malaria.keras_inputs import in_graph_steps

        return {**self.target.as_json(), "in_graph": list(in_graph_steps(self.plain))}

    @property
    def ranges(self) -> str:
        """Where int8 ranges come from, for a person."""
        return "int8 ranges in the model" if self.has_ranges else "no int8 ranges in the model"

    @property
    def flagged_views(self) -> int:
        """How many views of a flagged cell decide together; 1 where its first answer does."""
        return int(self.decision.get("flagged_views", 1))

    @property
    def threshold_logit(self) -> float:
        """The logit at which the balanced decision turns."""
        p = float(self.decision["operating_points"]["balanced"]["threshold"])
        z = float(np.log(p / (1.0 - p)))
        return z * float(self.decision["temperature"]) - float(self.decision["bias"])

    @cached_property
    def reference(self) -> KerasEngine:
        """The float network as an engine, which is asked about each cell once."""
        from converters.keras_engine import KerasEngine

        return KerasEngine(self.plain, remember=True)

    def second_logits(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """The second network's logits float32 [N], on the scale of this one's."""
        assert self.second is not None
        own, first = (DecisionRecord.from_json(s.decision) for s in (self.second, self))
        return on_first_scale(self.second.logits(pixels), own, first)

    def logits(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixel values [N, S, S, 3], uint8 or float32 -> the float network's logits float32 [N]."""
        return self.reference.run(pixels).reshape(-1)
