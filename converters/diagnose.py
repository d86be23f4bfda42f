"""Where an int8 file loses precision: the SQNR of every layer against the float32 file.

Both TFLite files run on the reference kernels with every tensor kept; operators are paired by
their order, which quantization does not change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.quiet import quiet
from edge_malaria.errors import UsageError
from edge_malaria.records import Image
from edge_malaria.runtime.engines.litert import load_interpreter_module

# What only moves or converts values is not a layer.
_MOVERS = {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SHAPE", "STRIDED_SLICE", "PACK", "DELEGATE"}
# What hands values on as they are: behind it, a rounded output is still a rounded one.
_PASSING = _MOVERS | {"MAX_POOL_2D", "PAD", "PADV2", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"}
# A few dozen cells settle a ratio of powers.
DIAGNOSE_CELLS = 48
# Above this a layer's noise is lost in the rounding of its neighbours.
_CLEAN_DB = 120.0
# Eight bits over a range that is used well; the shipped network's first layer gives 43 dB.
_HONEST_DB = 43.0


@dataclass(frozen=True)
class LayerNoise:
    """The noise of one layer's output.

    Attributes:
        layer: the Keras layer's name, as far as it can be told.
        tensor: the output's name in the float32 file, which ``keep_float`` takes.
        operator: TFLite's name of the operation.
        sqnr_db: of its output in the int8 file against the float32 file.
        lost_db: how much below the layer before it; what this layer itself loses.
        readers: outputs, in the float32 file, of what reads this one: the next layers that compute,
            and whatever only hands the values on to them.
    """

    layer: str
    tensor: str
    operator: str
    sqnr_db: float
    lost_db: float
    readers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For ``worst_layers`` of a parity report; not finite becomes null."""
        finite = math.isfinite(self.sqnr_db)
        return {
            "layer": self.layer,
            "operator": self.operator,
            "sqnr_db": round(self.sqnr_db, 2) if finite else None,
            "lost_db": round(self.lost_db, 2) if math.isfinite(self.lost_db) else None,
        }


def _readers(operations: Sequence[Any], end: int) -> list[int]:
    """Outputs of the operators that read a tensor, through those that only hand it on."""
    found: list[int] = []
    behind = [end]
    while behind:
        tensor = behind.pop()
        for operation in operations:
            out = int(operation["outputs"][0])
            if tensor in operation["inputs"] and out not in found:
                found.append(out)
                if operation["op_name"] in _PASSING:
                    behind.append(out)
    return found


def _interpreter(data: bytes) -> Any:
    module = load_interpreter_module()
    with quiet():
        interpreter = module.Interpreter(
            model_content=data,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    return interpreter


def _real(values: NDArray[Any], quantization: tuple[float, int]) -> NDArray[np.float64]:
    scale, zero_point = quantization
    wide = values.astype(np.float64)
    return (wide - zero_point) * scale if scale else wide


@dataclass(frozen=True)
class _Layer:
    operator: str
    tensor: str
    readers: tuple[str, ...]
    end: int


class _Network:
    """A file, run cell by cell with every layer's output kept until the next cell."""

    def __init__(self, data: bytes) -> None:
        self._interpreter = _interpreter(data)
        self._entry = self._interpreter.get_input_details()[0]
        self._details = {int(t["index"]): t for t in self._interpreter.get_tensor_details()}
        everything = self._interpreter._get_ops_details()
        names = {index: str(tensor["name"]) for index, tensor in self._details.items()}
        self.layers = [
            _Layer(
                str(op["op_name"]),
                names[end],
                tuple(names[i] for i in _readers(everything, end)),
                end,
            )
            for op in everything
            if op["op_name"] not in _MOVERS
            for end in [int(op["outputs"][0])]
        ]

    def run(self, cell: Image) -> None:
        """uint8 [S, S, 3]."""
        values = cell[None].astype(np.float32)
        if np.dtype(self._entry["dtype"]) == np.int8:
            values = (cell[None].astype(np.int16) - 128).astype(np.int8)
        self._interpreter.set_tensor(self._entry["index"], values)
        self._interpreter.invoke()

    def output(self, layer: _Layer) -> NDArray[np.float64]:
        """Dequantized [values, channels] of the cell that was run last."""
        found = self._interpreter.get_tensor(layer.end)
        real = _real(found, self._details[layer.end]["quantization"])
        return real.reshape(-1, real.shape[-1])


class _Powers:
    """Variance within channels, and mean square error, summed up cell by cell.

    A large network's outputs of all cells would take gigabytes. A channel's constant part carries
    nothing: with it, one huge channel would hide that no steps are left for the others.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sum: Any = 0.0
        self._squares: Any = 0.0
        self._errors: Any = 0.0

    def add(self, reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        """Of one cell, [values, channels] each."""
        self._count += len(reference)
        self._sum = self._sum + reference.sum(axis=0)
        self._squares = self._squares + (reference**2).sum(axis=0)
        self._errors = self._errors + ((reference - candidate) ** 2).sum(axis=0)

    def sqnr_db(self) -> float:
        """Variance over mean square error, both summed over channels, dB."""
        mean = self._sum / self._count
        signal = float((self._squares / self._count - mean**2).sum())
        noise = float((self._errors / self._count).sum())
        if not (math.isfinite(noise) and math.isfinite(signal)):
            return -math.inf
        if noise == 0.0:
            return _CLEAN_DB
        return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def keras_name(tensor: str) -> str:
    """``block1_dw_conv`` of ``net_1/block1_dw_relu_1/Relu;…;net_1/block1_dw_conv_1/depthwise``.

    The part that ends in a weighted operation names the layer; else the first part does.
    """
    parts = tensor.split(";")
    weighted = [p for p in parts if p.rsplit("/", 1)[-1].lower() in _WEIGHTED]
    path = (weighted or parts)[0].split("/")
    name = path[-2] if len(path) > 1 else path[0].partition(":")[0]
    stem, _, number = name.rpartition("_")
    return stem if stem and number.isdigit() else name


_WEIGHTED = ("convolution", "depthwise", "matmul", "conv2d", "biasadd")


def layer_noise(
    float_file: bytes, int8_file: bytes, inputs: Image, cells: int = DIAGNOSE_CELLS
) -> tuple[LayerNoise, ...]:
    """The noise of every layer, in the graph's order.

    Args:
        float_file: bytes of the float32 .tflite file.
        int8_file: bytes of the int8 (or int8-mixed) .tflite file.
        inputs: uint8 [N, S, S, 3].
        cells: how many of them to use, evenly spread.

    Raises:
        UsageError: the two files are not the same network.
    """
    chosen = inputs[:: max(1, len(inputs) // cells)][:cells]
    reference, candidate = _Network(float_file), _Network(int8_file)
    kinds = [[layer.operator for layer in one.layers] for one in (reference, candidate)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"the files are not the same network: {len(kinds[0])} layers in float32, "
            f"{len(kinds[1])} in int8."
        )
    pairs = list(zip(reference.layers, candidate.layers, strict=True))
    powers = [_Powers() for _ in pairs]
    for cell in chosen:
        reference.run(cell)
        candidate.run(cell)
        for (one, other), power in zip(pairs, powers, strict=True):
            power.add(reference.output(one), candidate.output(other))
    found, before = [], _CLEAN_DB
    for (one, _), power in zip(pairs, powers, strict=True):
        now = power.sqnr_db()
        name = keras_name(one.tensor)
        noise = LayerNoise(name, one.tensor, one.operator, now, before - now, one.readers)
        found.append(noise)
        before = now
    return tuple(found)


def worst_first(noise: Sequence[LayerNoise]) -> tuple[LayerNoise, ...]:
    """The layers that lose most themselves, worst first.

    The first layer is judged against what an honest 8-bit layer gives, because the pixels before
    it are exact.
    """

    def badness(indexed: tuple[int, LayerNoise]) -> float:
        index, layer = indexed
        lost = layer.lost_db if index else _HONEST_DB - layer.sqnr_db
        return -lost if math.isfinite(lost) else -math.inf

    return tuple(layer for _, layer in sorted(enumerate(noise), key=badness))
