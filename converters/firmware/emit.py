"""Writes a lowered network as one C99 source and its header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.firmware.network import Network
from converters.firmware.pointwise import float_literal
from converters.firmware.steps import Array, Step
from edge_malaria.prepare.contract import RESIZES, Preparation
from edge_malaria.prepare.stain import StainScaling

_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "uint16": "uint16_t"}
_NEEDS = {"conv": ("dot",)}
_ORDER = ("dot", "conv", "depthwise", "fully_connected", "pool", "add", "mean", "table", "softmax")


@dataclass(frozen=True)
class Identity:
    """Whose network it is.

    Attributes:
        name, version: of the bundle or file.
        sha256: of the .tflite file.
        size_px: side of the RGB input; 0 for a network that is no cell classifier.
        thresholds: operating point -> the raw output at or above which a cell is positive.
        unsure: lowest and highest raw output that is labelled unsure; low > high: none.
        permille: uint16 [256] probability x 1000 by raw output + 128.
        asked_again_from: the raw output from which on eight views decide; None for never. Then
            ``thresholds`` and ``unsure`` count eighths of a raw step, and ``permille`` is uint16
            [2041], by eighths + 1024.
        preparation: how crops become the network's input; None where ``size_px`` is 0.
    """

    name: str
    version: str
    sha256: str
    size_px: int = 0
    thresholds: Mapping[str, int] | None = None
    unsure: tuple[int, int] = (127, -128)
    permille: NDArray[np.uint16] | None = None
    preparation: Preparation | None = None
    asked_again_from: int | None = None


@cache
def _text(name: str) -> str:
    return files("converters.firmware").joinpath("c_kernels", name).read_text(encoding="utf-8")


def _rows(values: Iterable[str], width: int = 98) -> str:
    lines, line = [], " "
    for value in values:
        if len(line) + len(value) + 2 > width:
            lines.append(line)
            line = " "
        line += f" {value},"
    return "\n".join([*lines, line])


def array_text(name: str, values: NDArray[Any]) -> str:
    """A ``static const`` array definition."""
    if values.dtype == np.float32:
        kind, body = "float", _rows(float_literal(value) for value in values)
    else:
        kind = _TYPES[values.dtype.name]
        # -2147483648 is two tokens in C and does not fit an int.
        body = _rows("INT32_MIN" if int(v) == -(1 << 31) else str(int(v)) for v in values)
    return f"static const {kind} {name}[{len(values)}] = {{\n{body}\n}};\n"


def _guarded(rounding: int | None, text: str) -> str:
    if rounding is None:
        return text
    return f"#if EDGE_MALARIA_ROUNDING {'==' if rounding else '!='} 1\n{text}#endif\n"


def _constants(number: int, step: Step) -> str:
    names = {array.name: f"em_{array.name}_{number}" for array in step.arrays}
    merged: dict[int | None, list[Array]] = {}
    for array in step.arrays:
        merged.setdefault(array.rounding, []).append(array)
    parts = [
        _guarded(rounding, "".join(array_text(names[a.name], a.values) for a in arrays))
        for rounding, arrays in merged.items()
    ]
    if step.struct:
        parts.append(f"static const {step.struct} em_step_{number} = {{\n")
        parts.append(_fields(step, names) + "};\n")
    return f"\n/* {step.operator} -> {list(step.shape)} */\n" + "".join(parts)


def _fields(step: Step, names: Mapping[str, str]) -> str:
    lines: list[str] = []
    line: list[str] = []
    for entry in step.fields:
        if entry.startswith("#"):
            lines.append(_rows(line))
            lines.append({"#0": "#if EDGE_MALARIA_ROUNDING != 1", "#1": "#else"}.get(
                entry, "#endif"))  # fmt: skip
            line = []
        else:
            line.append(entry.format(**names))
    return "\n".join([*lines, _rows(line)] if line else lines) + "\n"


def _call(network: Network, number: int, step: Step) -> str:
    places = {
        f"in{position}": f"em_arena.bytes + {network.offset(tensor)}"
        for position, tensor in enumerate(step.inputs)
    }
    scratch = network.plan.offsets.get(f"scratch{number}")
    arrays = {array.name: f"em_{array.name}_{number}" for array in step.arrays}
    arguments = step.call.format(
        step=f"em_step_{number}",
        out=f"em_arena.bytes + {network.offset(step.output)}",
        scratch="NULL" if scratch is None else f"em_arena.bytes + {scratch}",
        **places,
        **arrays,
    )
    return f"  em_{step.kernel}({arguments});"


def _kernels(network: Network) -> str:
    used = {step.kernel for step in network.steps if step.kernel}
    used |= {need for kernel in used for need in _NEEDS.get(kernel, ())}
    return "\n".join(_text(f"{name}.c") for name in ("core", *_ORDER) if name == "core"
                     or name in used)  # fmt: skip


def source_text(network: Network, identity: Identity) -> str:
    """The C source."""
    computed = [(n, step) for n, step in enumerate(network.steps) if not step.alias]
    values = {
        **_identity_values(network, identity),
        "kernels": _kernels(network),
        "constants": "".join(_constants(n, step) for n, step in computed),
        "arena_bytes": str(network.plan.arena_bytes),
        "calls": "\n".join(_call(network, n, step) for n, step in computed),
        "input_offset": str(network.offset(network.input.index)),
        "output_offset": str(network.offset(network.output.index)),
        "classify": "",
    }
    if identity.size_px:
        assert identity.permille is not None
        table = array_text("em_permille", identity.permille)
        views = identity.asked_again_from is not None
        code = _text("classify_views_template.c" if views else "classify_template.c")
        values["classify"] = "\n" + table + "\n" + code
    return Template(_text("model_template.c")).substitute(values)


def header_text(network: Network, identity: Identity) -> str:
    """The C header."""
    values = _identity_values(network, identity)
    values["classify"] = ""
    if identity.size_px:
        points = identity.thresholds or {}
        how = identity.preparation or Preparation(identity.size_px)
        lines = [f"#define EDGE_MALARIA_THRESHOLD_{k.upper()} ({v})" for k, v in points.items()]
        values["classify"] = Template(_text("classify_template.h")).substitute(
            size_px=str(identity.size_px),
            resize=how.resize,
            resize_number=str(RESIZES.index(how.resize)),
            mask_black=str(int(how.mask == "black")),
            scales_stain=str(int(how.stain is not None)),
            home_rgb=", ".join(map(str, (how.stain or StainScaling()).home_rgb)),
            decides=_DECIDES if identity.asked_again_from is None else _views_decide(identity),
            asking="" if identity.asked_again_from is None else _ASKING,
            thresholds="\n".join(lines),
            unsure_low=str(identity.unsure[0]),
            unsure_high=str(identity.unsure[1]),
        )
    return Template(_text("model_template.h")).substitute(values)


_DECIDES = """\
/* A cell is positive where raw >= the threshold of the operating point. */
#define EDGE_MALARIA_VIEWS 1"""

_ASKING = """
/* The raw outputs of the cell's eight views added up: what edge_malaria_classify() decides by where
   the cell's own raw output is EDGE_MALARIA_ASKED_AGAIN_FROM or more. Eight runs. */
int edge_malaria_eight_views(const uint8_t *rgb);
"""


def _views_decide(identity: Identity) -> str:
    return f"""\
/* A cell whose raw output is ASKED_AGAIN_FROM or more is asked again: quarter turns, each mirrored.
   Thresholds, and the unsure band, count eighths of an output step: the sum of the eight raw
   outputs, or 8 x raw where the cell is not asked again. Positive: at or above the threshold. */
#define EDGE_MALARIA_VIEWS 8
#define EDGE_MALARIA_ASKED_AGAIN_FROM ({identity.asked_again_from})"""


def _identity_values(network: Network, identity: Identity) -> dict[str, str]:
    return {
        "name": identity.name,
        "version": identity.version,
        "sha256": identity.sha256,
        "input_bytes": str(network.input.elements),
        "output_bytes": str(network.output.elements),
        "output_scale": float_literal(np.float32(network.output.scale)),
        "output_zero_point": str(network.output.zero_point),
        "arena_bytes": str(network.plan.arena_bytes),
        "macs": str(network.macs),
    }


def golden_text(
    inputs: NDArray[np.uint8],
    expected: Mapping[int, NDArray[np.int8]],
    sums: Mapping[int, NDArray[np.int64]],
) -> str:
    """The header of golden cells, for tests on the target; kept out of the model's own files.

    Args:
        inputs: uint8 [N, bytes] (pixels; int8 inputs are stored as their two's complement).
        expected: rounding mode -> int8 [N, outputs]; a mode that was not computed is left out.
        sums: the same modes -> the sums of eight views of the first cells; empty where no cell is
            asked again.
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
        *("{\n" + _rows(str(int(v)) for v in row) + "\n}," for row in inputs),
        "};\n",
    ]
    for number, rounding in enumerate(sorted(expected)):
        word = "elif" if number else "if"
        parts.append(f"#{word} EDGE_MALARIA_ROUNDING == {rounding}")
        parts.append(f"static const int8_t edge_malaria_golden_output[{count}][{outputs}] = {{")
        rows = expected[rounding]
        parts.append(_rows("{" + ", ".join(str(int(v)) for v in row) + "}" for row in rows))
        parts.append("};")
        if sums:
            viewed = _rows(str(int(value)) for value in sums[rounding])
            parts.append(
                f"static const int16_t edge_malaria_golden_views[{len(sums[rounding])}] = {{"
            )
            parts += [viewed, "};"]
    parts += ["#else\n#error no golden outputs were computed for this rounding\n#endif\n", "#endif"]
    return "\n".join(parts) + "\n"


def selftest_text() -> str:
    """The C source that runs the golden cells on a target."""
    return _text("selftest_template.c")


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
