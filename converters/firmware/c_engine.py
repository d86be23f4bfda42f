"""The generated C file as an engine: compiled on this machine, cells through a pipe.

A process of its own, because what is compiled may be anybody's file: where it crashes, that is a
finding and not the end of the suite.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.firmware.check import host_compiler
from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.errors import EnvironmentProblem, GateFailed, ModelShapeError
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import BATCH, dequantize, in_batches

SOURCE, HEADER = "edge_malaria_model.c", "edge_malaria_model.h"
_LIMIT_S = 600
# Of one part of the cells: a program that takes longer has stopped.
_PART_LIMIT_S = 600
_MAIN = r"""
#include <stdio.h>
#include "edge_malaria_model.h"
#ifdef RUN_SECOND
#define SCALE EDGE_MALARIA_SECOND_OUTPUT_SCALE
#define ZERO_POINT EDGE_MALARIA_SECOND_OUTPUT_ZERO_POINT
#define SHA256 EDGE_MALARIA_SECOND_SHA256
#define INPUT edge_malaria_second_input
#define RUN edge_malaria_second_run
#else
#define SCALE EDGE_MALARIA_OUTPUT_SCALE
#define ZERO_POINT EDGE_MALARIA_OUTPUT_ZERO_POINT
#define SHA256 EDGE_MALARIA_MODEL_SHA256
#define INPUT edge_malaria_input
#define RUN edge_malaria_run
#endif
int main(int argc, char **argv) {
  (void)argv;
  if (argc > 1) {
    printf("%ld %ld %.9g %ld %s\n", (long)EDGE_MALARIA_INPUT_BYTES,
           (long)EDGE_MALARIA_OUTPUT_BYTES, (double)SCALE, (long)ZERO_POINT, SHA256);
    return 0;
  }
  while (fread(INPUT(), EDGE_MALARIA_INPUT_BYTES, 1, stdin) == 1) {
    if (fwrite(RUN(), EDGE_MALARIA_OUTPUT_BYTES, 1, stdout) != 1) return 1;
  }
  return ferror(stdin) ? 1 : 0;
}
"""


class CEngine:
    """Runs ``edge_malaria_model.c`` of a folder.

    Args:
        folder: holds the C file and its header.
        rounding: 0 as TensorFlow Lite Micro rounds, 1 as XNNPACK, 2 as LiteRT's reference kernels.
        size_px: S of the network's input.
        second: run the second network of the file.

    Attributes:
        model_sha256: of the .tflite file, as the header names it.

    Raises:
        EnvironmentProblem: no C compiler here.
        GateFailed: the files do not compile, or what was compiled does not run.
        ModelShapeError: the C file takes or gives other sizes.
    """

    name = "c"

    def __init__(self, folder: Path, rounding: int, size_px: int, *, second: bool = False) -> None:
        work = tempfile.mkdtemp(prefix="edge-malaria-c-")
        weakref.finalize(self, shutil.rmtree, work, ignore_errors=True)
        self._program = Path(work) / "model"
        self._compile(folder, rounding, ["-DRUN_SECOND"] if second else [])
        sizes, scale, zero_point, self.model_sha256 = self._facts(folder)
        if sizes != (size_px * size_px * 3, 1):
            raise ModelShapeError(
                f"{folder / HEADER}: expected {size_px * size_px * 3} input bytes and 1 output, "
                f"got {sizes[0]} and {sizes[1]}."
            )
        self.input = TensorSpec("pixels", (size_px, size_px, 3), "int8", 1.0, -128)
        self.output = TensorSpec("logit", (1,), "int8", scale, zero_point)

    def _compile(self, folder: Path, rounding: int, defines: list[str]) -> None:
        compiler = host_compiler()
        if compiler is None:
            raise EnvironmentProblem(
                "no C compiler (cc, gcc or clang) on this machine: install one, or leave c out of "
                "--engine."
            )
        main = self._program.with_suffix(".c")
        main.write_text(_MAIN, encoding="utf-8")
        rounds = f"-DEDGE_MALARIA_ROUNDING={rounding}"
        flags = ["-std=c99", "-O2", rounds, *defines, "-I", str(folder)]
        built = subprocess.run(
            [compiler, *flags, str(main), str(folder / SOURCE), "-o", str(self._program)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if built.returncode:
            first = next((line for line in built.stderr.splitlines() if "error" in line), "?")
            raise GateFailed(f"{folder / SOURCE} does not compile: {first.strip()}")

    def _facts(self, folder: Path) -> tuple[tuple[int, int], float, int, str]:
        """((input bytes, output bytes), output scale, zero point, SHA-256) of the header."""
        told = subprocess.run(
            [str(self._program), "facts"], capture_output=True, text=True, timeout=60, check=False
        )
        words = told.stdout.split()
        if told.returncode or len(words) != 5:
            raise GateFailed(f"{folder / SOURCE}: the program ended with status {told.returncode}.")
        return (int(words[0]), int(words[1])), float(words[2]), int(words[3]), words[4]

    def run_raw(self, batch: Image) -> NDArray[Any]:
        """uint8 [N, S, S, 3] RGB -> int8 [N, 1].

        Raises:
            ValueError: cells of another size.
            RuntimeError: the program crashed, stopped, or gave another number of outputs.
        """
        if batch.shape[1:] != self.input.shape:
            raise ValueError(f"expected cells of {self.input.shape}, got {batch.shape[1:]}")
        # A large network takes many minutes for all golden cells: the time limit is of one part.
        return in_batches(np.ascontiguousarray(batch), self.input, self._part, BATCH)

    def _part(self, rows: NDArray[Any]) -> NDArray[Any]:
        try:
            ran = subprocess.run(
                [str(self._program)],
                input=rows.tobytes(),
                capture_output=True,
                timeout=_PART_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"the C program gave no answer to {len(rows)} cells within {_PART_LIMIT_S} s"
            ) from error
        if ran.returncode or len(ran.stdout) != len(rows):
            raise RuntimeError(
                f"the C program ended with status {ran.returncode} after {len(ran.stdout)} of "
                f"{len(rows)} cells"
            )
        return np.frombuffer(ran.stdout, np.int8).reshape(-1, 1)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """See ``run_raw``; dequantized as the header says."""
        return dequantize(self.run_raw(batch), self.output)
