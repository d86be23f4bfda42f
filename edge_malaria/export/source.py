"""What an export starts from: a .keras file, and beside it a JSON with its decision.

``<name>.json`` beside ``<name>.keras`` holds ``decision`` (temperature, bias, operating points,
abstention, false positives), ``provenance`` and, where the network was trained behind the slide's
colour scaling, ``preprocessing`` (``steps`` and ``stain``); training writes it. A .keras file that
comes alone gets the plain decision: probability 0.5.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.errors import ModelFileError, ModelShapeError
from edge_malaria.files import sha256_of
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.stain import StainScaling

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
        stain: the slide's colour scaling that the network was trained behind; None for none.
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

    @property
    def target(self) -> Preparation:
        """The way from a crop to the network's input."""
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
    def threshold_logit(self) -> float:
        """The logit at which the balanced decision turns."""
        p = float(self.decision["operating_points"]["balanced"]["threshold"])
        z = float(np.log(p / (1.0 - p)))
        return z * float(self.decision["temperature"]) - float(self.decision["bias"])

    def logits(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixel values [N, S, S, 3], uint8 or float32 -> the float network's logits float32 [N]."""
        parts = [
            np.asarray(self.plain(pixels[i : i + 256].astype(np.float32), training=False))
            for i in range(0, len(pixels), 256)
        ]
        return np.concatenate(parts).reshape(-1).astype(np.float32)


def resolve_model(model: str) -> Path:
    """The .keras file of a shipped model's name, or the path itself.

    Raises:
        ModelFileError: neither exists.
    """
    path = Path(model)
    if path.suffix == ".keras":
        return path
    shipped = SHIPPED_MODELS / f"{model}.keras"
    if not shipped.is_file():
        names = ", ".join(
            sorted(p.stem for p in SHIPPED_MODELS.glob("*.keras") if p.stem != "finder")
        )
        raise ModelFileError(f"no model {model!r}: expected a .keras file or one of: {names}.")
    return shipped


def load_source(model: str) -> Source:
    """Loads a model and what stands beside it.

    Raises:
        ModelFileError: missing, corrupt or unsafe.
        ModelShapeError: not S x S x 3 pixels to one logit.
        MissingExtra: TensorFlow is not installed.
    """
    from converters.quiet import quiet, require

    require("tensorflow")
    path = resolve_model(model)
    with quiet():
        from edge_malaria.keras_layers import has_ranges, load_model, strip_fake_quant

        stored = load_model(path)
        size = _input_size(stored, path)
        ranges = has_ranges(stored)
        plain = strip_fake_quant(stored)
    beside = _beside(path)
    finder = path.with_name("finder.keras")
    provenance = {**beside.get("provenance", {}), "keras_sha256": sha256_of(path)}
    return Source(
        name=path.stem,
        quantized=stored if ranges else plain,
        plain=plain,
        size_px=size,
        weights=int(plain.count_params()),
        has_ranges=ranges,
        decision={**PLAIN_DECISION, **beside.get("decision", {})},
        provenance=provenance,
        measured=beside.get("measured", {}),
        finder=finder if finder.is_file() and path.parent == SHIPPED_MODELS else None,
        stain=StainScaling.from_contract(beside.get("preprocessing", {})),
    )


def _beside(path: Path) -> dict[str, Any]:
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        value = json.loads(sidecar.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelFileError(f"{sidecar} is damaged ({error}).") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{sidecar}: expected a JSON object.")
    return value


def _input_size(model: Any, path: Path) -> int:
    inputs, outputs = model.inputs, model.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelShapeError(
            f"{path}: expected one input and one output, got {len(inputs)} and {len(outputs)}."
        )
    shape = tuple(inputs[0].shape[1:])
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] is None:
        raise ModelShapeError(f"{path}: expected input [N, S, S, 3], got {tuple(inputs[0].shape)}.")
    out = tuple(outputs[0].shape[1:])
    if out != (1,):
        raise ModelShapeError(
            f"{path}: expected output [N, 1] (one logit), got {tuple(outputs[0].shape)}."
        )
    return int(shape[0])
