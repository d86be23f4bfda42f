"""Parameters and multiply-accumulates of a .tflite file, counted from its graph; numpy alone.

Counted alike for every file: weights and biases of convolutions (transposed ones too) and dense
layers, and one multiply-accumulate for each product. Other operators count nothing.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity.tflite_file import Table

# BuiltinOperator of TensorFlow Lite's schema.
CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV = 3, 4, 9, 67
COUNTED = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV)


@dataclass(frozen=True)
class Costs:
    """What a network costs.

    Attributes:
        parameters: weights and biases.
        macs: multiply-accumulates of one input.
    """

    parameters: int
    macs: int


def file_costs(data: bytes, name: str = "model.tflite") -> Costs:
    """Counts the main subgraph of a .tflite file.

    Raises:
        BundleIntegrityError: not a TFLite flatbuffer, or cut off.
    """
    if data[4:8] != b"TFL3":
        raise BundleIntegrityError(f"{name}: expected a TFLite file (TFL3), got {data[4:8]!r}.")
    try:
        return _counted(Table(data, int(struct.unpack_from("<I", data, 0)[0])))
    except (struct.error, IndexError, ValueError) as error:
        raise BundleIntegrityError(f"{name}: damaged TFLite file ({error}).") from error


def _counted(model: Table) -> Costs:
    # Codes above 127 stand in the newer field alone; older files have only the older one.
    codes = [max(t.number(0, "<b"), t.number(3, "<i")) for t in model.tables(1)]
    graph = model.tables(2)[0]
    shapes = [tuple(int(side) for side in t.array(0, "<i4")) for t in graph.tables(0)]
    parameters, macs = 0, 0
    for operator in graph.tables(3):
        code = codes[operator.number(0, "<I")]
        if code not in COUNTED:
            continue
        inputs = [int(index) for index in operator.array(1, "<i4")]
        output = int(operator.array(2, "<i4")[0])
        macs += _macs(code, shapes, inputs, output)
        biases = inputs[3:4] if code == TRANSPOSE_CONV else inputs[2:3]
        # Equal constants of two operators (zero biases) may be stored once; both are counted.
        parameters += sum(math.prod(shapes[index]) for index in (inputs[1], *biases) if index >= 0)
    return Costs(parameters, macs)


def _macs(code: int, shapes: list[tuple[int, ...]], inputs: list[int], output: int) -> int:
    weights = shapes[inputs[1]]
    if code == TRANSPOSE_CONV:
        # Each input value is spread over the kernel and all output channels.
        return math.prod(shapes[inputs[2]]) * weights[0] * weights[1] * weights[2]
    made = math.prod(shapes[output])
    if code == DEPTHWISE_CONV_2D:
        return made * weights[1] * weights[2]
    return made * math.prod(weights[1:])
