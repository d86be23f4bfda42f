"""What each layer of a network costs: parameters, multiply-accumulates, memory, memory traffic.

Training and inference apart, because they differ in kind: training keeps every layer's output of
the whole batch for the way back and four copies of each weight; inference keeps only what is still
to be read. The rules are counted, not measured, and hold for one pass with nothing kept in caches:

- inference, one cell: a batch norm or ReLU directly behind a convolution, dense layer or addition
  is done while that one writes; 1/255 is folded; dropout and reshapes move nothing. Every other
  layer reads its inputs and weights and writes its output.
- training, one step: forward as the layers stand; backward each reads its kept inputs and the
  gradient of its output, and writes the gradients of its inputs (with its weights read again) and
  of its weights; Adam reads weight, gradient and two moments and writes three of them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import FakeQuant, keras
from edge_malaria.training.architectures.registry import layer_macs
from edge_malaria.training.quantization.fold import LINEAR_LAYERS, parents_of

FLOAT_BYTES = 4
VALUE_BYTES = {"float32": 4, "int8": 1}
# Reads: weight, gradient, both moments. Writes: weight, both moments (Kingma, Ba, arXiv 1412.6980).
ADAM_TRANSFERS = 7
# Weight, gradient, both moments.
ADAM_COPIES = 4
VIEWS = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape, FakeQuant)
HOSTS = (*LINEAR_LAYERS, keras.layers.SeparableConv2D, keras.layers.Add)


@dataclass(frozen=True)
class Inference:
    """One cell through one layer.

    Attributes:
        fused: the layer costs nothing of its own.
        weight_bytes: what is stored.
        traffic_bytes: read and written.
    """

    fused: bool
    weight_bytes: int
    traffic_bytes: int


@dataclass(frozen=True)
class Training:
    """One layer's part of a training step.

    Attributes:
        macs: forward and backward, whole batch.
        activation_bytes: kept from the way forward to the way back.
        state_bytes: weights, gradients and Adam's moments.
        traffic_bytes: read and written.
    """

    macs: int
    activation_bytes: int
    state_bytes: int
    traffic_bytes: int


@dataclass(frozen=True)
class LayerProfile:
    """One layer.

    Attributes:
        name, kind: Keras's.
        output_shape: without the batch axis.
        parameters: all, batch statistics included.
        macs: of one cell's inference.
        activation_bytes: the output of one cell in the inference dtype.
        inference, training: what they cost.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    inference: Inference
    training: Training


@dataclass(frozen=True)
class Profile:
    """A network, layer by layer.

    Attributes:
        layers: in order of execution.
        dtype: of inference: float32 or int8 (weights 1 byte, biases 4).
        batch: cells a training step.
        peak_bytes: most activation memory in use at once at inference.
    """

    layers: tuple[LayerProfile, ...]
    dtype: str
    batch: int
    peak_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Layers and totals."""
        cells, steps = ([getattr(x, part) for x in self.layers] for part in _PARTS)
        return {
            "dtype": self.dtype,
            "batch": self.batch,
            "layers": [asdict(layer) for layer in self.layers],
            "totals": {
                "parameters": sum(layer.parameters for layer in self.layers),
                "macs": sum(layer.macs for layer in self.layers),
                "inference": {
                    "weight_bytes": sum(cell.weight_bytes for cell in cells),
                    "activation_peak_bytes": self.peak_bytes,
                    "traffic_bytes": sum(cell.traffic_bytes for cell in cells),
                },
                "training": {
                    "macs": sum(step.macs for step in steps),
                    "activation_bytes": sum(step.activation_bytes for step in steps),
                    "state_bytes": sum(step.state_bytes for step in steps),
                    "traffic_bytes": sum(step.traffic_bytes for step in steps),
                },
            },
        }


_PARTS = ("inference", "training")


def profile(model: Any, *, dtype: str = "float32", batch: int = 16) -> Profile:
    """Counts what ``model`` costs.

    Args:
        model: float32 [N, S, S, 3] -> logit.
        dtype: of inference, a key of ``VALUE_BYTES``.
        batch: cells a training step, >= 1.

    Raises:
        UsageError: unknown dtype, or no cell in a batch.
    """
    if dtype not in VALUE_BYTES:
        raise UsageError(f"unknown dtype {dtype!r}: expected one of {sorted(VALUE_BYTES)}.")
    if not (batch >= 1):
        raise UsageError(f"expected at least 1 cell a batch, got {batch}.")
    parents = parents_of(model)
    fused = _fused(model, parents)
    learns: dict[str, bool] = {}
    layers = []
    for layer in model.layers:
        before = any(learns[parent.name] for parent in parents[layer.name])
        learns[layer.name] = before or bool(layer.trainable_weights)
        entering = sum(_values(parent) for parent in parents[layer.name])
        layers.append(
            LayerProfile(
                layer.name,
                type(layer).__name__,
                tuple(int(side) for side in layer.output.shape[1:]),
                int(layer.count_params()),
                layer_macs(layer),
                _values(layer) * VALUE_BYTES[dtype],
                _inference(layer, entering, parents[layer.name], layer.name in fused, dtype),
                _training(layer, entering, batch, before),
            )
        )
    return Profile(tuple(layers), dtype, batch, _peak(model, parents, fused, VALUE_BYTES[dtype]))


def _values(layer: Any) -> int:
    return math.prod(int(side) for side in layer.output.shape[1:])


def _fused(model: Any, parents: dict[str, list[Any]]) -> set[str]:
    """Layers that cost nothing of their own at inference."""
    consumers: dict[str, int] = {}
    for found in parents.values():
        for parent in found:
            consumers[parent.name] = consumers.get(parent.name, 0) + 1
    fused: set[str] = set()
    hosted: set[str] = set()  # a convolution, or what is done while it writes
    for layer in model.layers:
        if isinstance(layer, (*VIEWS, keras.layers.Dropout, keras.layers.Rescaling)):
            fused.add(layer.name)
        elif isinstance(layer, HOSTS):
            hosted.add(layer.name)
        elif isinstance(layer, keras.layers.BatchNormalization) or _rectifies(layer):
            [parent] = parents[layer.name]
            if parent.name in hosted and consumers[parent.name] == 1:
                fused.add(layer.name)
                hosted.add(layer.name)
    return fused


def _rectifies(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.relu
    return isinstance(layer, keras.layers.ReLU)


def _inference(layer: Any, entering: int, parents: list[Any], fused: bool, dtype: str) -> Inference:
    size = VALUE_BYTES[dtype]
    if fused and isinstance(layer, keras.layers.BatchNormalization):
        # Folded, a batch norm leaves a bias where its convolution had none.
        bias = 0 if getattr(parents[0], "use_bias", True) else int(layer.output.shape[-1])
        return Inference(True, bias * FLOAT_BYTES, bias * FLOAT_BYTES)
    if fused:
        return Inference(True, 0, 0)
    # A bias is an int32 in an int8 file.
    weights = sum(
        math.prod(weight.shape) * (size if len(weight.shape) > 1 else FLOAT_BYTES)
        for weight in layer.weights
    )
    return Inference(False, weights, weights + (entering + _values(layer)) * size)


def _training(layer: Any, entering: int, batch: int, before: bool) -> Training:
    """``before``: something trainable stands before this layer, so gradients go on through it."""
    trainable = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    weights = int(layer.count_params())
    fixed = weights - trainable
    values = batch * _values(layer)
    if isinstance(layer, VIEWS):
        kept = values if isinstance(layer, keras.layers.InputLayer) else 0
        return Training(0, kept * FLOAT_BYTES, 0, 0)
    moved = batch * entering + values + weights
    if before or trainable:
        moved += values + batch * entering + trainable * (1 + ADAM_TRANSFERS)
    if before:
        moved += batch * entering + weights
    passes = 1 + int(before) + int(trainable > 0)
    return Training(
        batch * layer_macs(layer) * passes,
        values * FLOAT_BYTES,
        (trainable * ADAM_COPIES + fixed) * FLOAT_BYTES,
        moved * FLOAT_BYTES,
    )


def _peak(model: Any, parents: dict[str, list[Any]], fused: set[str], size: int) -> int:
    """Most activation bytes alive at once; a fused layer's output is its parent's memory."""
    home: dict[str, str] = {}
    last: dict[str, int] = {}
    bytes_of: dict[str, int] = {}
    for index, layer in enumerate(model.layers):
        found = parents[layer.name]
        home[layer.name] = home[found[0].name] if layer.name in fused and found else layer.name
        bytes_of.setdefault(home[layer.name], _values(layer) * size)
        for name in (layer.name, *(parent.name for parent in found)):
            last[home[name]] = index
    alive: set[str] = set()
    peak = 0
    for index, layer in enumerate(model.layers):
        alive.add(home[layer.name])
        peak = max(peak, sum(bytes_of[name] for name in alive))
        alive = {name for name in alive if last[name] > index}
    return peak
