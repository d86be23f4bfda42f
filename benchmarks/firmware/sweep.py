"""Runs drawn networks everywhere: LiteRT's reference kernels, XNNPACK and the generated C.

TensorFlow Lite Micro has an environment of its own (``tflm_oracle.py``).
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.firmware.drawn_networks import Case, Int8, Rng
from converters.firmware import to_c

# LiteRT's own softmax, which runs beside XNNPACK, rounds in another way on every processor; the
# generator has the reference kernels' only.
WITHOUT_XNNPACK = frozenset({"SOFTMAX"})


def draw_inputs(rng: Rng, case: Case, rows: int) -> Int8:
    """int8 [rows, ...]: most uniform over the range, a few constant or saturated."""
    x = rng.integers(-128, 128, (rows, *case.shape)).astype(np.int8)
    for row, value in zip(x, (-128, 127, 0), strict=False):
        row[...] = value
    return x


def run_litert(model: bytes, x: Int8, *, reference: bool) -> Int8:
    """LiteRT's int8 outputs [rows, outputs] from the reference kernels or through XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=kind, num_threads=1
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    outputs = []
    for row in x:
        interpreter.set_tensor(source, row[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result).reshape(-1).copy())
    return np.stack(outputs)


LOOP = """
#include "edge_malaria_model.h"
void em_rows(const int8_t *in, int8_t *out, uint32_t rows);
void em_rows(const int8_t *in, int8_t *out, uint32_t rows) {
  for (uint32_t row = 0; row < rows; row++) {
    int8_t *to = edge_malaria_input();
    for (uint32_t i = 0; i < EDGE_MALARIA_INPUT_BYTES; i++) to[i] = *in++;
    const int8_t *from = edge_malaria_run();
    for (uint32_t i = 0; i < EDGE_MALARIA_OUTPUT_BYTES; i++) *out++ = from[i];
  }
}
"""
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")


class CompiledNetwork:
    """The generated C file as a shared library on this machine."""

    def __init__(
        self, model: bytes, folder: Path, *, rounding: int = 0, compiler: str = "cc",
        flags: Sequence[str] = ("-O1",),
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.network = to_c.write_sources(model, folder, name="sweep")
        (folder / "rows.c").write_text(LOOP)
        library = folder / "network.so"
        command = [compiler, *STRICT, *flags, f"-DEDGE_MALARIA_ROUNDING={rounding}", "-fPIC"]
        sources = [str(folder / "edge_malaria_model.c"), str(folder / "rows.c")]
        subprocess.run([*command, "-shared", *sources, "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    def run(self, x: Int8) -> Int8:
        """int8 [rows, ...] -> int8 [rows, outputs]."""
        x = np.ascontiguousarray(x)
        outputs = np.empty((len(x), self.network.output.elements), np.int8)
        pointer = ctypes.POINTER(ctypes.c_int8)
        self._library.em_rows(
            x.ctypes.data_as(pointer), outputs.ctypes.data_as(pointer), ctypes.c_uint32(len(x))
        )
        return outputs
