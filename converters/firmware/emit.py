"""Writes a lowered network as one C99 source and its header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.firmware.c_text import array_lines, template
from converters.firmware.identity import Identity, Second
from converters.firmware.network import Network
from converters.firmware.pointwise import float_literal
from converters.firmware.steps import Array, Step
from edge_malaria.prepare.contract import RESIZES, Preparation
from edge_malaria.prepare.stain import StainScaling

_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "uint16": "uint16_t"}
_NEEDS = {"conv": ("dot",)}
_ORDER = ("dot", "conv", "depthwise", "fully_connected", "pool", "add", "mean", "table", "softmax")


def array_text(name: str, values: NDArray[Any]) -> str:
    """A ``static const`` array definition."""
    if values.dtype == np.float32:
        kind, body = "float", array_lines(float_literal(value) for value in values)
    else:
        kind = _TYPES[values.dtype.name]
        # -2147483648 is two tokens in C and does not fit an int.
        body = array_lines("INT32_MIN" if int(v) == -(1 << 31) else str(int(v)) for v in values)
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
            lines.append(array_lines(line))
            lines.append({"#0": "#if EDGE_MALARIA_ROUNDING != 1", "#1": "#else"}.get(
                entry, "#endif"))  # fmt: skip
            line = []
        else:
            line.append(entry.format(**names))
    return "\n".join([*lines, array_lines(line)] if line else lines) + "\n"


def _call(network: Network, number: int, step: Step, first: int = 0) -> str:
    """The call of step ``number`` of the file; ``first``: that of the network's first step."""
    places = {
        f"in{position}": f"em_arena.bytes + {network.offset(tensor)}"
        for position, tensor in enumerate(step.inputs)
    }
    scratch = network.plan.offsets.get(f"scratch{number - first}")
    arrays = {array.name: f"em_{array.name}_{number}" for array in step.arrays}
    arguments = step.call.format(
        step=f"em_step_{number}",
        out=f"em_arena.bytes + {network.offset(step.output)}",
        scratch="NULL" if scratch is None else f"em_arena.bytes + {scratch}",
        **places,
        **arrays,
    )
    return f"  em_{step.kernel}({arguments});"


def _kernels(steps: Iterable[Step]) -> str:
    used = {step.kernel for step in steps if step.kernel}
    used |= {need for kernel in used for need in _NEEDS.get(kernel, ())}
    return "\n".join(template(f"{name}.c") for name in ("core", *_ORDER) if name == "core"
                     or name in used)  # fmt: skip


def source_text(network: Network, identity: Identity) -> str:
    """The C source."""
    second = identity.second
    computed = _computed(network)
    every, start = list(computed), len(network.steps)
    if second is not None:
        every += _computed(second.network, start)
    values = {
        **_identity_values(network, identity),
        "kernels": _kernels(step for _, step in every),
        "constants": "".join(_constants(n, step) for n, step in every),
        "calls": "\n".join(_call(network, n, step) for n, step in computed),
        "input_offset": str(network.offset(network.input.index)),
        "output_offset": str(network.offset(network.output.index)),
        "classify": "",
    }
    if identity.size_px:
        assert identity.permille is not None
        table = array_text("em_permille", identity.permille)
        values["classify"] = "\n" + table + "\n" + _deciding(identity, start)
    return Template(template("model_template.c")).substitute(values)


def _computed(network: Network, start: int = 0) -> list[tuple[int, Step]]:
    """(number in the file, step) of every step that computes something."""
    numbered = enumerate(network.steps, start)
    return [(number, step) for number, step in numbered if not step.alias]


def _deciding(identity: Identity, start: int) -> str:
    """The C code of ``edge_malaria_classify``; ``start``: number of the second's first step."""
    second = identity.second
    if second is None:
        views = identity.asked_again_from is not None
        return template("classify_views_template.c" if views else "classify_template.c")
    network = second.network
    calls = (_call(network, n, step, start) for n, step in _computed(network, start))
    return Template(template("classify_second_template.c")).substitute(
        table=array_text("em_second_permille", second.permille),
        calls="\n".join(calls),
        input_offset=str(network.offset(network.input.index)),
        output_offset=str(network.offset(network.output.index)),
    )


def header_text(network: Network, identity: Identity) -> str:
    """The C header."""
    values = _identity_values(network, identity)
    values["classify"] = ""
    if identity.size_px:
        points = identity.thresholds or {}
        how = identity.preparation or Preparation(identity.size_px)
        lines = [f"#define EDGE_MALARIA_THRESHOLD_{k.upper()} ({v})" for k, v in points.items()]
        values["classify"] = Template(template("classify_template.h")).substitute(
            size_px=str(identity.size_px),
            resize=how.resize,
            resize_number=str(RESIZES.index(how.resize)),
            mask_black=str(int(how.mask == "black")),
            scales_stain=str(int(how.stain is not None)),
            home_rgb=", ".join(map(str, (how.stain or StainScaling()).home_rgb)),
            decides=_decides(identity),
            asking=_asking(identity),
            thresholds="\n".join(lines),
            unsure_low=str(_unsure(identity)[0]),
            unsure_high=str(_unsure(identity)[1]),
        )
    return Template(template("model_template.h")).substitute(values)


_DECIDES = """\
/* A cell is positive where raw >= the threshold of the operating point. */
#define EDGE_MALARIA_VIEWS 1"""

_ASKING = """
/* The raw outputs of the cell's eight views added up: what edge_malaria_classify() decides by where
   the cell's own raw output is EDGE_MALARIA_ASKED_AGAIN_FROM or more. Eight runs. */
int edge_malaria_eight_views(const uint8_t *rgb);
"""


def _unsure(identity: Identity) -> tuple[int, int]:
    return identity.unsure if identity.second is None else identity.second.unsure


def _decides(identity: Identity) -> str:
    if identity.second is not None:
        return _second_decides(identity, identity.second)
    return _DECIDES if identity.asked_again_from is None else _views_decide(identity)


def _asking(identity: Identity) -> str:
    if identity.second is not None:
        return _SECOND_ASKING
    return "" if identity.asked_again_from is None else _ASKING


_SECOND_ASKING = """
/* The second network: its input, and its output until the next run of either network. Both share
   one working memory. */
int8_t *edge_malaria_second_input(void);
const int8_t *edge_malaria_second_run(void);
"""


def _second_decides(identity: Identity, second: Second) -> str:
    result = second.network.output
    return f"""\
/* A cell whose raw output is ASKED_AGAIN_FROM or more is shown to a second network, which decides:
   positive where its raw output is at or above the threshold. All other cells are not called. */
#define EDGE_MALARIA_VIEWS 1
#define EDGE_MALARIA_SECOND 1
#define EDGE_MALARIA_SECOND_SHA256 "{second.sha256}"
#define EDGE_MALARIA_SECOND_OUTPUT_SCALE {float_literal(np.float32(result.scale))}
#define EDGE_MALARIA_SECOND_OUTPUT_ZERO_POINT ({result.zero_point})
#define EDGE_MALARIA_ASKED_AGAIN_FROM ({identity.asked_again_from})
/* The unsure band of cells that the second network is not asked about. */
#define EDGE_MALARIA_FIRST_UNSURE_LOW ({identity.unsure[0]})
#define EDGE_MALARIA_FIRST_UNSURE_HIGH ({identity.unsure[1]})"""


def _views_decide(identity: Identity) -> str:
    return f"""\
/* A cell whose raw output is ASKED_AGAIN_FROM or more is asked again: quarter turns, each mirrored.
   Thresholds, and the unsure band, count eighths of an output step: the sum of the eight raw
   outputs, or 8 x raw where the cell is not asked again. Positive: at or above the threshold. */
#define EDGE_MALARIA_VIEWS 8
#define EDGE_MALARIA_ASKED_AGAIN_FROM ({identity.asked_again_from})"""


def _identity_values(network: Network, identity: Identity) -> dict[str, str]:
    return {
        "arena_bytes": str(arena_bytes(network, identity)),
        "notes": _notes(identity),
        "name": identity.name,
        "version": identity.version,
        "sha256": identity.sha256,
        "input_bytes": str(network.input.elements),
        "output_bytes": str(network.output.elements),
        "output_scale": float_literal(np.float32(network.output.scale)),
        "output_zero_point": str(network.output.zero_point),
        "macs": str(network.macs),
    }


def arena_bytes(network: Network, identity: Identity) -> int:
    """Bytes of working memory; two networks share it, because one runs at a time."""
    second = identity.second
    return max(network.plan.arena_bytes, 0 if second is None else second.network.plan.arena_bytes)


def _notes(identity: Identity) -> str:
    """Further lines of the C file's first comment."""
    second = identity.second
    if second is None:
        return ""
    return f"\n   Second network sha256 {second.sha256}, {second.network.macs} of them"
