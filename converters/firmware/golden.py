"""What the C file must answer for a few cells, from the interpreters that it is measured against.

Rounding 1 comes from LiteRT with XNNPACK, rounding 2 from LiteRT's reference kernels. Rounding 0
(TensorFlow Lite Micro) is rounding 2 with the last fully connected layer rounded twice instead of
once; that layer is computed here, from the reference kernels' own input to it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.firmware import fixed_point
from converters.firmware.network import Network
from edge_malaria.errors import MissingExtra

Int8 = NDArray[np.int8]
ROUNDINGS = {0: "TensorFlow Lite Micro", 1: "XNNPACK", 2: "LiteRT reference kernels"}


def _interpreter(model: bytes, *, reference: bool) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingExtra("ai-edge-litert", "export") from error
    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=kind,
        experimental_preserve_all_tensors=reference,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    return interpreter


def _outputs(interpreter: Any, rows: Int8, tensor: int) -> Int8:
    source = interpreter.get_input_details()[0]["index"]
    found = []
    for row in rows:
        interpreter.set_tensor(source, row)
        interpreter.invoke()
        found.append(np.array(interpreter.get_tensor(tensor)).reshape(-1))
    return np.stack(found)


def expected_outputs(model: bytes, network: Network, rows: Int8) -> dict[int, Int8]:
    """Rounding -> the outputs int8 [N, outputs] for int8 inputs [N, *network.input.shape].

    Rounding 0 is missing where a fully connected layer stands before other layers: then only
    TensorFlow Lite Micro itself could tell.
    """
    result = network.output.index
    reference = _interpreter(model, reference=True)
    expected = {
        1: _outputs(_interpreter(model, reference=False), rows, result),
        2: _outputs(reference, rows, result),
    }
    computed = [step for step in network.steps if not step.alias]
    dense = [step for step in computed if step.kernel == "fully_connected"]
    tail = list(itertools.takewhile(lambda step: step.kernel == "table", reversed(computed)))
    if not dense:
        expected[0] = expected[2]
    elif dense == computed[-1 - len(tail) : len(computed) - len(tail)]:
        values = _dense_twice_rounded(dense[0], _outputs(reference, rows, dense[0].inputs[0]))
        for step in reversed(tail):
            values = step.arrays[0].values[values.astype(np.int32) + 128]
        expected[0] = values
    return dict(sorted(expected.items()))


def _dense_twice_rounded(step: Any, inputs: Int8) -> Int8:
    arrays = {array.name: array.values.astype(np.int64) for array in step.arrays}
    _, in_n, out_n, zero, low, high = (int(entry) for entry in step.fields[:6])
    x = inputs.astype(np.int64).reshape(-1, in_n)
    sums = x @ arrays["weights"].reshape(out_n, in_n).T + arrays["bias"]
    values = [
        fixed_point.multiply_by_quantized(int(s), int(m), int(shift)) + zero
        for row in sums
        for s, m, shift in zip(row, arrays["multiplier"], arrays["shift"], strict=True)
    ]
    return np.clip(values, low, high).astype(np.int8).reshape(len(inputs), -1)
