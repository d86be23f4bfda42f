"""Writes what stands beside a generated network: its golden cells, their self-test, a Makefile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from converters.firmware.c_text import array_lines, template


def golden_text(
    inputs: NDArray[np.uint8],
    expected: Mapping[int, NDArray[np.int8]],
    sums: Mapping[int, NDArray[np.int64]],
    second: Mapping[int, NDArray[np.int8]],
) -> str:
    """The header of golden cells, for tests on the target; kept out of the model's own files.

    Args:
        inputs: uint8 [N, bytes] (pixels; int8 inputs are stored as their two's complement).
        expected: rounding mode -> int8 [N, outputs]; a mode that was not computed is left out.
        sums: the same modes -> the sums of eight views of the first cells; empty where no cell is
            asked in views.
        second: the same modes -> the second network's outputs int8 [N, 1]; empty without one.
    """
    count, size = inputs.shape
    outputs = next(iter(expected.values())).shape[1]
    parts = [
        "/* Golden cells: inputs and the bits that the network must answer. */",
        "#ifndef EDGE_MALARIA_GOLDEN_H\n#define EDGE_MALARIA_GOLDEN_H\n\n#include <stdint.h>\n",
        f"#define EDGE_MALARIA_GOLDEN_CELLS {count}",
        "#if defined(__GNUC__)",
        '#define EDGE_MALARIA_GOLDEN_PLACE __attribute__((section(".golden")))',
        "#else\n#define EDGE_MALARIA_GOLDEN_PLACE\n#endif\n",
        "EDGE_MALARIA_GOLDEN_PLACE",
        f"static const uint8_t edge_malaria_golden_input[{count}][{size}] = {{",
        *("{\n" + array_lines(str(int(v)) for v in row) + "\n}," for row in inputs),
        "};\n",
    ]
    for number, rounding in enumerate(sorted(expected)):
        word = "elif" if number else "if"
        parts.append(f"#{word} EDGE_MALARIA_ROUNDING == {rounding}")
        parts.append(f"static const int8_t edge_malaria_golden_output[{count}][{outputs}] = {{")
        rows = expected[rounding]
        parts.append(array_lines("{" + ", ".join(str(int(v)) for v in row) + "}" for row in rows))
        parts.append("};")
        if sums:
            viewed = array_lines(str(int(value)) for value in sums[rounding])
            parts.append(
                f"static const int16_t edge_malaria_golden_views[{len(sums[rounding])}] = {{"
            )
            parts += [viewed, "};"]
        if second:
            told = array_lines(str(int(value)) for value in second[rounding].reshape(-1))
            parts += [
                f"static const int8_t edge_malaria_golden_second[{count}] = {{",
                told,
                "};",
            ]
    parts += ["#else\n#error no golden outputs were computed for this rounding\n#endif\n", "#endif"]
    return "\n".join(parts) + "\n"


def selftest_text() -> str:
    """The C source that runs the golden cells on a target."""
    return template("selftest_template.c")


_MAKEFILE = """\
# make: compiles the network on this machine, in each rounding, and runs its golden cells.
# Into a product go edge_malaria_model.c and .h alone.
CC        ?= cc
CFLAGS    ?= -O2
BUILD     ?= build
ROUNDINGS := {roundings}

check: $(ROUNDINGS:%=$(BUILD)/selftest-%)
\t@for rounding in $(ROUNDINGS); do $(BUILD)/selftest-$$rounding || exit 1; done

$(BUILD)/selftest-%: edge_malaria_model.c edge_malaria_selftest.c $(wildcard *.h)
\t@mkdir -p $(BUILD)
\t@$(CC) -std=c99 $(CFLAGS) -DEDGE_MALARIA_ROUNDING=$* -DEDGE_MALARIA_SELFTEST_MAIN \\
\t    $(filter %.c,$^) -o $@

clean:
\trm -rf $(BUILD)

.PHONY: check clean
"""


def makefile_text(roundings: Iterable[int]) -> str:
    """The Makefile that runs the golden cells on the machine that it is on."""
    return _MAKEFILE.format(roundings=" ".join(map(str, sorted(roundings))))
